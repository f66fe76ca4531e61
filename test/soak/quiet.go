package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ddocker/test/judge"
)

const (
	// agreement is how long the nodes may take to agree after all was mended.
	agreement = time.Minute
	// grace is how long what a crash left may be held: a create that an engine accepted may
	// still land.
	grace = 4 * time.Minute
	// rest is how long nobody does anything before resources are read.
	rest = 12 * time.Second
)

// guard has a container run on each host that no client ever touches.
func (s *soak) guard(ctx context.Context) error {
	for _, h := range s.lab.Hosts() {
		name := "guard-" + h.Name()
		var made struct{ ID string }
		err := s.judge.Agent(1).Ask(ctx, http.MethodPost, "/containers/create?name="+name, map[string]any{
			"Image": "busybox", "Cmd": command, "Labels": map[string]string{"ddocker.node": h.Name(), "ddocker.ports": "1"}, "StopSignal": "KILL",
			"HostConfig": map[string]any{"NanoCpus": int64(1e9)},
		}, &made)
		if err == nil {
			err = s.judge.Agent(1).Ask(ctx, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil)
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
		s.told.put(own{name: name, id: made.ID, runs: true})
	}
	have, err := s.judge.Containers(ctx)
	if err == nil {
		s.told.compare(have) // remembers how they are
	}
	return err
}

// follow follows the log of a guard through whoever answers, for ever.
func (s *soak) follow(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		path := fmt.Sprintf("/containers/guard-h%d/logs?stdout=1&tail=1&follow=1", 1+(i+1)%3)
		s.judge.Agent(1+i%3).Drain(ctx, path)
		pause(ctx, time.Second)
	}
}

// quiet judges and measures the cluster while nobody wants anything of it. All that was
// broken is mended since then; that clients wait for their last answers, and that what they
// drained is activated, counts as time in which the nodes do not agree.
func (s *soak) quiet(ctx context.Context, mended time.Time) {
	limited, cancel := context.WithDeadline(ctx, mended.Add(agreement))
	s.activate(ctx)
	_, err := s.judge.Settled(limited)
	took := time.Since(mended)
	if cancel(); ctx.Err() != nil {
		return
	}
	if err != nil {
		s.violated("after %v %v", agreement, err)
	}
	s.mu.Lock()
	s.agreed = append(s.agreed, took)
	s.mu.Unlock()
	s.note("quiet: all nodes agree after %v", took.Round(time.Millisecond))
	s.soundness(ctx)
	s.removePrizes(ctx) // which nobody owns: what is left after that is somebody's
	have, err := s.judge.Containers(ctx)
	if err != nil {
		s.violated("an engine does not answer in a quiet time: %v", err)
		return
	}
	for _, wrong := range s.told.compare(have) {
		s.violated("%s", wrong)
	}
	pause(ctx, rest)
	s.measure(ctx, true)
}

// activate undoes what clients drained.
func (s *soak) activate(ctx context.Context) {
	for _, h := range s.lab.Hosts() {
		for end := time.Now().Add(agreement); ctx.Err() == nil; pause(ctx, time.Second) {
			limited, cancel := context.WithTimeout(ctx, onePatience)
			err := s.judge.Agent(1).Ask(limited, http.MethodPost, "/ddocker/nodes/"+h.Name()+"/activate", nil, nil)
			if cancel(); err == nil {
				break
			}
			if time.Now().After(end) {
				s.violated("%s cannot be activated in a quiet time: %v", h.Name(), err)
				break
			}
		}
	}
}

// soundness judges who holds what. What a crash left has its grace; what is held twice has
// none.
func (s *soak) soundness(ctx context.Context) {
	began := time.Now()
	for {
		wrong, err := s.judge.Wrong(ctx)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		if len(wrong) == 0 || ctx.Err() != nil {
			break
		}
		late := time.Since(began) > grace
		for _, w := range wrong {
			if late || strings.Contains(w, "is held by") {
				s.violated("%s", w)
			}
		}
		if late {
			break
		}
		pause(ctx, 2*time.Second)
	}
	if took := time.Since(began); took > 2*time.Second {
		s.note("quiet: what crashes left was gone after %v", took.Round(time.Second))
	}
}

// removePrizes has clients contend anew, after a look whether each prize is whose it was
// said to be.
func (s *soak) removePrizes(ctx context.Context) {
	have, err := s.judge.Containers(ctx)
	if err == nil { // or the removal says so
		s.judgePrizes(have)
	}
	s.removeContainers(ctx, "prize")
	s.prize.Clear()
}

func (s *soak) judgePrizes(have map[string]judge.Container) {
	s.prize.Range(func(name, id any) bool {
		if is := have[id.(string)]; is.Name != name {
			s.violated("%s was acknowledged as %.12s, which is %q", name, id, is.Name)
		}
		return true
	})
}

// removeContainers removes all whose names begin so.
func (s *soak) removeContainers(ctx context.Context, prefix string) {
	have, err := s.judge.Containers(ctx)
	if err != nil {
		s.violated("an engine does not answer in a quiet time: %v", err)
	}
	for _, c := range have {
		if !strings.HasPrefix(c.Name, prefix) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, onePatience)
		if err := s.judge.Agent(2).Ask(limited, http.MethodDelete, "/containers/"+c.Name+"?force=1", nil, nil); err != nil {
			s.violated("remove %s in a quiet time: %v", c.Name, err)
		}
		cancel()
		s.told.drop(c.Name)
	}
}

// clear removes all that was made, and looks that nothing is left of it.
func (s *soak) clear(ctx context.Context) {
	s.removeContainers(ctx, "")
	names, err := s.imageNames(ctx)
	if err != nil {
		s.violated("the images are not listed in the end: %v", err)
	}
	for _, name := range names {
		limited, cancel := context.WithTimeout(ctx, onePatience)
		if err := s.judge.Agent(3).Ask(limited, http.MethodDelete, "/images/"+name+"?force=1", nil, nil); err != nil {
			s.violated("remove image %s in the end: %v", name, err)
		}
		cancel()
	}
	for end := time.Now().Add(grace); ctx.Err() == nil; pause(ctx, time.Second) {
		left, err := s.leftovers(ctx)
		if err == nil && len(left) == 0 {
			s.note("nothing is left of what was made")
			return
		}
		if time.Now().After(end) {
			s.violated("left in the end: %q (%v)", left, err)
			return
		}
	}
}

// leftovers is what there is after all was removed.
func (s *soak) leftovers(ctx context.Context) (left []string, err error) {
	books, err := s.judge.Books(ctx, 1)
	if err != nil {
		return nil, err
	}
	for _, p := range books.Placements {
		left = append(left, "placement "+p.Name)
	}
	have, err := s.judge.Containers(ctx)
	for _, c := range have {
		left = append(left, "container "+c.Name)
	}
	names, fault := s.imageNames(ctx)
	if err == nil {
		err = fault
	}
	return append(left, names...), err
}

// imageNames are those that clients gave. An image whose name was taken from a container
// that is made from it by force has none, as with docker.
func (s *soak) imageNames(ctx context.Context) (names []string, err error) {
	for i := range s.lab.Hosts() {
		for _, socket := range []*judge.Socket{s.judge.Agent(i + 1), s.judge.Engine(i + 1)} {
			var images []struct{ RepoTags []string }
			if err := socket.Ask(ctx, http.MethodGet, "/images/json", nil, &images); err != nil {
				return names, err
			}
			for _, image := range images {
				for _, name := range image.RepoTags {
					if name != "busybox:latest" && !strings.HasPrefix(name, "<none>") && !slices.Contains(names, name) {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names, nil
}

// faulty is what no agent may ever write.
var faulty = regexp.MustCompile(`(?m)^(panic: |fatal error: ).*`)

// keepLogs keeps what the agents wrote.
func (s *soak) keepLogs() error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	for _, h := range s.lab.Hosts() {
		text := h.AgentLog()
		if found := faulty.FindString(text); found != "" {
			s.violated("the agent of %s wrote: %s", h.Name(), found)
		}
		if err := os.WriteFile(filepath.Join(s.out, h.Name()+".log"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
