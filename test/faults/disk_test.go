//go:build faults

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ddocker/test/judge"
	"ddocker/test/lab"
)

// TestAFullDataDirectory fills the disk on which an agent has its data, of a voter and then
// of the leader: both serve on, containers are made there as everywhere, and nobody's
// votes are lost. An agent that is started meanwhile says what it lacks.
func TestAFullDataDirectory(t *testing.T) {
	w := raise(t, func(l *lab.Lab) {
		for _, h := range l.Hosts() {
			h.SmallDisk(t, "8m")
		}
	})
	before := w.stock()
	leader, others := w.leader()
	for _, sick := range []*lab.Host{others[0], leader} {
		t.Run(sick.Name(), func(t *testing.T) {
			w := &world{Lab: w.Lab, Judge: w.Judge, t: t, told: w.told}
			sick.FillDisk(t)
			w.createMany("full-"+sick.Name(), 60)
			for _, h := range w.Hosts() {
				w.lists(h, 5, "pinned-"+sick.Name())
			}
			if !strings.Contains(sick.AgentLog(), "no space left on device") {
				t.Error("its disk was never full")
			}
			// A new leader has a term of its own, which cannot be kept there.
			now, _ := w.leader()
			if now == sick {
				t.Error("who cannot write leads")
			}
			now.DDocker(t, "raft", "transfer-leader")
			w.createMany("term-"+sick.Name(), 6)
			w.removeAll("full-"+sick.Name(), "term-"+sick.Name())

			sick.KillAgent(t)
			if err := w.Do("agent", fmt.Sprint(w.number(sick))); err == nil {
				t.Log("it starts on a full disk")
			} else if said := tail(sick.AgentLog(), 1); !strings.Contains(said, "no space left on device") || !strings.Contains(said, "room") {
				t.Errorf("it does not start on a full disk, and says: %s", said)
			} else {
				t.Logf("it does not start on a full disk, and says: %s", said)
			}
			sick.KillAgent(t)
			sick.EmptyDisk(t)
			sick.StartAgent(t)
			w.over(before)
		})
	}
	t.Run("room is made while it runs", func(t *testing.T) {
		w := &world{Lab: w.Lab, Judge: w.Judge, t: t, told: w.told}
		sick := others[0]
		sick.FillDisk(t)
		w.createMany("again", 40)
		sick.EmptyDisk(t)
		w.over(before)
	})
}

// createMany creates containers by all hosts in turn, all of which have to come to be.
func (w *world) createMany(prefix string, n int) {
	w.t.Helper()
	for i := range n {
		name := fmt.Sprintf("%s-%d", prefix, i)
		ctx, cancel := context.WithTimeout(w.t.Context(), onePatience)
		id, err := w.make(ctx, 1+i%3, wish{name: name, cpus: 0.01, ports: 1})
		if cancel(); err != nil {
			w.t.Errorf("create %s on h%d: %v", name, 1+i%3, err)
			continue
		}
		w.told[name] = id
	}
}

// removeAll removes what was made under these prefixes.
func (w *world) removeAll(prefixes ...string) {
	w.t.Helper()
	for name := range w.told {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix+"-") {
				w.Host(1).DDocker(w.t, "rm", "-f", name)
				delete(w.told, name)
			}
		}
	}
}

// damages are done to the file of a log, by a seed that the test tells.
var damages = map[string]func(file []byte, by *rand.Rand) []byte{
	"cut to half":               func(file []byte, _ *rand.Rand) []byte { return file[:len(file)/2] },
	"cut within its first page": func(file []byte, _ *rand.Rand) []byte { return file[:1000] },
	"both first pages are zero": func(file []byte, _ *rand.Rand) []byte { clear(file[:8192]); return file },
	"four pages are zero": func(file []byte, by *rand.Rand) []byte {
		at := 2 + by.IntN(max(1, len(file)/4096-6))
		clear(file[at*4096 : min(len(file), (at+4)*4096)])
		return file
	},
	"64 bytes are flipped":   func(file []byte, by *rand.Rand) []byte { return flip(file, by, 64) },
	"4 bytes are flipped":    func(file []byte, by *rand.Rand) []byte { return flip(file, by, 4) },
	"4096 bytes are flipped": func(file []byte, by *rand.Rand) []byte { return flip(file, by, 4096) },
}

func flip(file []byte, by *rand.Rand, times int) []byte {
	for range times {
		file[by.IntN(len(file))] ^= byte(1 + by.IntN(255))
	}
	return file
}

// aside is what an agent says whose log was set aside.
var aside = regexp.MustCompile(`the log in \S+ is damaged .* moved to (\S+);`)

// TestADamagedLog damages the log of a voter that was killed, each time in another way.
// Where it can be read as it was, the host goes on; where it cannot, it says so and joins
// again as a new node, as it is told to.
func TestADamagedLog(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := raise(t)
			before := w.shared()
			_, others := w.leader()
			sick := others[1]
			for i := range 20 { // so that there is something to damage
				sick.Run("ddocker", "node", "label", sick.Name(), fmt.Sprintf("n=%d", i))
			}
			old := w.serverID(sick.Name())
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			sick.KillAgent(t)
			file := filepath.Join(w.Dir, sick.Name(), "state", "raft", "raft.db")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(text, rand.New(rand.NewPCG(seed, 0))), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := w.Do("agent", fmt.Sprint(w.number(sick))); err == nil {
				t.Log("the log could be read")
				w.over(before)
				return
			}
			said := tail(sick.AgentLog(), 1)
			m := aside.FindStringSubmatch(said)
			if m == nil {
				t.Fatalf("the agent does not start, and says:\n%s", tail(sick.AgentLog(), 5))
			}
			if _, err := os.Stat(filepath.Join(strings.TrimRight(m[1], `"`), "raft.db")); err != nil {
				t.Errorf("it was set aside, and is not there: %v", err)
			}
			w.rejoin(sick, others[0])
			w.rejoined(before, sick)
			if now := w.serverID(sick.Name()); now == old || now == "" {
				t.Errorf("the node was %s and is %q", old, now)
			}
		})
	}
}

// rejoin does what the sentence says.
func (w *world) rejoin(sick, other *lab.Host) {
	w.t.Helper()
	other.DDocker(w.t, "node", "rm", "--force", sick.Name())
	token := strings.TrimSpace(other.DDocker(w.t, "token"))
	at, err := os.ReadFile(filepath.Join(w.Dir, other.Name(), "address"))
	if err != nil {
		w.t.Fatal(err)
	}
	sick.StartAgent(w.t, "--join", strings.TrimSpace(string(at)), "--token", token)
}

// rejoined judges a cluster in which a host is a new node: its containers run on as before,
// as ones that somebody made there.
func (w *world) rejoined(before map[string]judge.Container, sick *lab.Host) {
	w.t.Helper()
	for id, c := range on(before, sick.Name(), true) {
		delete(w.told, c.Name)
		w.strangers = append(w.strangers, c.Name)
		if now := w.containers()[id]; now.Process != c.Process || now.Started != c.Started {
			w.t.Errorf("%s was %+v, is %+v", c.Name, c, now)
		}
	}
	lab.Eventually(w.t, agreement, func() error {
		if n := strings.Count(w.Host(1).Run("ddocker", "ps", "-a").Stdout, "-"+sick.Name()); n != 2 {
			return fmt.Errorf("%d containers of %s are listed, not 2:\n%s", n, sick.Name(), w.Host(1).Run("ddocker", "ps", "-a").Stdout)
		}
		return nil
	})
	if err := w.create(w.t.Context(), 1, wish{name: "next", on: sick.Name(), ports: 1}); err != nil {
		w.t.Errorf("create on the host that joined again: %v", err)
	}
	w.over(on(before, sick.Name(), false))
}

// serverID is under which ID a host has the log.
func (w *world) serverID(host string) string {
	w.t.Helper()
	var state struct{ Servers []struct{ ID, Name string } }
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	for i := range w.Hosts() {
		if w.Agent(i+1).Ask(ctx, "GET", "/ddocker/raft", nil, &state) != nil {
			continue
		}
		for _, s := range state.Servers {
			if s.Name == host {
				return s.ID
			}
		}
	}
	return ""
}
