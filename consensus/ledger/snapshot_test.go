package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"ddocker/sched"
	"ddocker/settings"
)

func withBuffer(cores int) *settings.Settings {
	s := settings.Default()
	s.Buffer.Cores = cores
	return &s
}

// full is a ledger with something of everything.
func full(t testing.TB) *Ledger {
	t.Helper()
	l := twoHosts(t)
	must(t, l, Command{Configure: withBuffer(1)})
	must(t, l, Command{AddToken: &Token{Hash: "h", Expires: start().AddDate(0, 0, 1), Uses: 2}})
	c := place("p1", "web", sched.Request{MilliCPU: 1000, Memory: 3, GPUs: make([]sched.GPUWish, 1), Ports: []sched.PortWish{{Proto: "tcp"}}})
	c.ID = "r1"
	must(t, l, c)
	must(t, l, place("p2", "<b>&\u2028", sched.Request{Cores: sched.CPUs(3)}))
	must(t, l, Command{Observe: &Observe{Node: "n2", Images: []Holding{has("sha256:d1", "debian:12")}, Ports: []sched.Port{{Number: 22, Proto: "tcp"}}, Cards: []ClosedCard{{"card-n2", "busy: used by python"}},
		Containers: []Outsider{{ID: "x", Name: "db", Grant: sched.Grant{MilliCPU: 500}}}}})
	must(t, l, Command{Release: &Release{Placement: "p0", Expired: true}})
	must(t, l, Command{Drain: &Drain{Node: "n2", By: "alice"}})
	must(t, l, Command{LabelNode: &LabelNode{"n2", map[string]string{"zone": "a"}}})
	must(t, l, Command{Drain: &Drain{Node: "n2", Open: true}})
	must(t, l, Command{Drain: &Drain{Node: "n1"}})
	withImages(t, l)
	return l
}

func TestASnapshotIsUnchangedByLaterCommands(t *testing.T) {
	l := full(t)
	want, s := saved(t, l), l.Snapshot()
	var got bytes.Buffer
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := s.WriteTo(&got); err != nil {
			t.Error(err)
		}
	})
	must(t, l, Command{Configure: &settings.Settings{ImageReplicas: 1}})
	for _, c := range []Command{
		{NameImage: &NameImage{Claim: "c", Image: Image{Name: "making:1", ID: "sha256:e1", Node: "n1"}}},
		{NameImage: &NameImage{Image: Image{Name: "debian:old", ID: "sha256:d1", Node: "n2"}}},
		{Unname: &Unname{Name: "web:1", ID: "sha256:e1"}},
		{Evict: &Evict{Node: "n1", ID: "sha256:d1"}},
		{Observe: &Observe{Node: "n1", Seen: l.Index() + 9}},
	} {
		must(t, l, c)
	}
	must(t, l, Command{UseToken: &UseToken{Hash: "h"}})
	must(t, l, Command{Confirm: &Confirm{Placement: "p1", Container: "c1"}})
	must(t, l, Command{Rename: &Rename{Placement: "p1", Name: "other"}})
	must(t, l, Command{Observe: &Observe{Node: "n2", Closed: "drained"}})
	must(t, l, Command{Release: &Release{Placement: "p2", Expired: true}})
	writing.Wait()
	if _, err := s.WriteTo(&got); err != nil {
		t.Error(err)
	}
	if want = slices.Concat(want, want); !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got  %s\nwant %s", &got, want)
	}
}

func TestRestoreReadsWhatWasWritten(t *testing.T) {
	l := full(t)
	if got, want := saved(t, restored(t, l)), saved(t, l); !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWriteToCountsItsBytesAndReportsAFullDisk(t *testing.T) {
	l := full(t)
	var b bytes.Buffer
	if n, err := l.Snapshot().WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Errorf("got %d, %v; want %d", n, err, b.Len())
	}
	disk := errors.New("no space left on device")
	if _, err := l.Snapshot().WriteTo(failing{disk}); !errors.Is(err, disk) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestATruncatedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	whole := saved(t, full(t))
	l := twoHosts(t)
	before := saved(t, l)
	for n := range len(whole) - 1 { // the last byte ends the line and says nothing
		if err := l.Restore(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("%d of %d bytes were taken for a whole snapshot", n, len(whole))
		}
	}
	torn := errors.New("connection reset")
	if err := l.Restore(iotest.ErrReader(torn)); !errors.Is(err, torn) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(saved(t, l), before) {
		t.Error("a refused snapshot changed the state")
	}
}

func TestAHostileSnapshotIsRefused(t *testing.T) {
	const (
		n1 = `{"register":{"node":"n1","name":"gpu1","capacity":{"cores":"0-3"}}}`
		p1 = `{"id":"p1","node":"n1","name":"web"}`
		m1 = `{"id":"r1"}`
		i1 = `{"name":"web:1","id":"sha256:a"}`
	)
	head := func(nodes, placements, memos int) string {
		return fmt.Sprintf(`{"v":1,"nodes":%d,"placements":%d,"memos":%d}`, nodes, placements, memos)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"null":                "null",
		"no version":          "{}",
		"newer version":       `{"v":7}`,
		"negative nodes":      head(-1, 0, 0),
		"negative placements": head(0, -1, 0),
		"negative memos":      head(0, 0, -1),
		"huge counts":         head(1<<60, 1<<60, 1<<60),
		"count past int":      `{"v":1,"nodes":99999999999999999999}`,
		"negative buffer":     `{"v":1,"settings":{"Buffer":{"Cores":-1}}}`,
		"unknown node":        head(0, 1, 0) + p1,
		"node twice":          head(2, 0, 0) + n1 + n1,
		"node name twice":     head(2, 0, 0) + n1 + strings.Replace(n1, "n1", "n2", 1),
		"nameless node":       head(1, 0, 0) + "{}",
		"null node":           head(1, 0, 0) + "null",
		"hostile cores":       head(1, 0, 0) + strings.Replace(n1, "0-3", "0-999999999", 1),
		"placement twice":     head(1, 2, 0) + n1 + p1 + strings.Replace(p1, "web", "db", 1),
		"name twice":          head(1, 2, 0) + n1 + p1 + strings.Replace(p1, "p1", "p2", 1),
		"nameless placement":  head(1, 1, 0) + n1 + `{"id":"p1","node":"n1"}`,
		"placement of no ID":  head(1, 1, 0) + n1 + `{"name":"web","node":"n1"}`,
		"memo twice":          head(0, 0, 2) + m1 + m1,
		"nobody's memo":       head(0, 0, 1) + "{}",
		"negative images":     `{"v":2,"images":-1}`,
		"image twice":         `{"v":2,"images":2}` + i1 + i1,
		"nameless image":      `{"v":2,"images":1}{"id":"sha256:a"}`,
		"image in odd form":   `{"v":2,"images":1}` + strings.Replace(i1, "web:1", "web", 1),
		"image of no ID":      `{"v":2,"images":1}{"name":"web:1"}`,
		"image and claim":     `{"v":2,"images":1}{"name":"web:1","id":"sha256:a","claim":"c"}`,
		"null image":          `{"v":2,"images":1}null`,
		"negative replicas":   `{"v":2,"settings":{"ImageReplicas":-1}}`,
		"disk over-full":      `{"v":2,"settings":{"ImageDisk":101}}`,
		"more than counted":   head(1, 0, 0) + n1 + p1,
		"a stray bracket":     head(1, 0, 0) + n1 + "}",
		"deep":                `{"v":1,"settings":` + strings.Repeat(`{"Types":[`, 20000),
	} {
		l := New()
		if err := l.Restore(strings.NewReader(text)); err == nil {
			t.Errorf("%s: taken for a snapshot", name)
		} else if !strings.HasPrefix(err.Error(), "read ledger snapshot: ") {
			t.Errorf("%s: %v", name, err)
		}
		if l.Index() != 0 || len(l.nodes) != 0 {
			t.Errorf("%s: changed the state", name)
		}
	}
}

func TestASnapshotThatRemembersTooMuchIsCutToTheNewest(t *testing.T) {
	expired := strings.Repeat(`"old",`, maxExpired) + `"new"`
	l := New()
	if err := l.Restore(strings.NewReader(`{"v":1,"expired":[` + expired + `]}`)); err != nil {
		t.Fatal(err)
	}
	if len(l.expired) != maxExpired || !l.Expired("new") {
		t.Errorf("%d are remembered", len(l.expired))
	}
}

func FuzzRestore(f *testing.F) {
	whole := saved(f, full(f))
	f.Add(whole)
	f.Add(bytes.ReplaceAll(whole, []byte("n2"), []byte("n1")))
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"v":2,"removals":[{"name":"x:1","id":"sha256:a","index":1,"nodes":["n2","n1","n2"]},null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := New()
		if err := l.Restore(bytes.NewReader(data)); err != nil {
			return
		}
		summed(t, l)
		if got, want := saved(t, restored(t, l)), saved(t, l); !bytes.Equal(got, want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestRestoreLeavesNothingOfWhatWasBefore(t *testing.T) {
	small := saved(t, twoHosts(t))
	l := full(t)
	if err := l.Restore(bytes.NewReader(small)); err != nil {
		t.Fatal(err)
	}
	if got := saved(t, l); !bytes.Equal(got, small) {
		t.Errorf("got  %s\nwant %s", got, small)
	}
	consistent(t, l)
}
