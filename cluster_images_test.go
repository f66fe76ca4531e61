package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// commit makes an image of a container through h's agent, and returns its ID.
func (h *host) commit(ctx context.Context, name, as string) (string, error) {
	r, err := h.docker().ContainerCommit(ctx, name, container.CommitOptions{Reference: as})
	return r.ID, err
}

func (h *host) mustCommit(name, as string) (id string) {
	h.of.t.Helper()
	id, err := h.commit(h.of.soon(), name, as)
	if err != nil {
		h.of.t.Fatalf("commit %s as %s by %s: %v", name, as, h.name, err)
	}
	return id
}

// means returns the ID of the image that h's own engine has by the name, or "".
func (h *host) means(name string) string {
	i, err := h.engine().ImageInspect(h.of.soon(), name)
	if err != nil {
		return ""
	}
	return i.ID
}

// names returns what h's ledger says that names of images stand for, "" for one
// that is being made.
func (h *host) names() map[string]string {
	names := map[string]string{}
	h.inside().log.View(func(l *ledger.Ledger) {
		for _, i := range l.Images() {
			names[i.Name] = i.ID
		}
	})
	return names
}

// judgeImages says what is wrong with the images of a cluster that had its time to
// settle: names that mean what nobody has, or another thing on some host, names
// that are still being made, and images that are nobody's. Acknowledged are the IDs
// that clients were told of, by name; gone are the names whose removal was.
func (w *world) judgeImages(acknowledged map[string]string, gone map[string]bool) {
	w.t.Helper()
	w.alike()
	for _, wrong := range w.wrongImages(acknowledged, gone, nil) {
		w.t.Error(wrong)
	}
}

// wrongImages says what is wrong with names and images. Those that a machine had, or was
// about to have, when it was set up anew are nobody's, and may be without a name.
func (w *world) wrongImages(acknowledged map[string]string, gone map[string]bool, anews map[string]time.Time) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	names := w.up()[0].names()
	for name, id := range acknowledged {
		if names[name] != id && !gone[name] {
			say("image %s was acknowledged as %s and is now %q", name, id, names[name])
		}
	}
	copies := map[string]int{}
	for _, h := range w.hosts {
		list, err := h.engine().ImageList(w.soon(), image.ListOptions{All: true})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, i := range list {
			copies[i.ID]++
			tags := slices.DeleteFunc(i.RepoTags, func(tag string) bool { return strings.HasPrefix(tag, "<none>") })
			if len(tags) == 0 && i.Created > anews[h.name].Unix() {
				say("on %s the image %s has no name, but labels %v", h.name, i.ID, i.Labels)
			}
			for _, tag := range tags {
				if names[tag] != i.ID {
					say("on %s %s is %s, in the cluster %q", h.name, tag, i.ID, names[tag])
				}
			}
		}
	}
	for name, id := range names {
		if id == "" || copies[id] == 0 {
			say("image %s is %q, of which there are %d copies", name, id, copies[id])
		}
		if gone[name] {
			say("image %s was removed and is still there", name)
		}
	}
	return wrong
}

// What is committed on one host runs on every other from that moment on.
func TestACommittedImageRunsOnEveryHostAtOnce(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		w.hosts[0].mustRun(wanted{name: "work", on: "n1"})
		id := w.hosts[1].mustCommit("work", "tools:1")
		for i, h := range w.hosts {
			name := fmt.Sprint("on-", h.name)
			w.hosts[(i+1)%3].mustRun(wanted{name: name, on: h.name, image: "tools:1"})
			if got := h.means("tools:1"); got != id {
				t.Errorf("on %s tools:1 is %q, want %s", h.name, got, id)
			}
		}
		w.judgeImages(map[string]string{"tools:1": id}, nil)
	})
}

// Of commits of one name at once from several hosts, one is done and the others
// are refused.
func TestOneNameIsGivenToOneImage(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		for _, h := range w.hosts {
			h.twin.SetLatency(enginetest.Commit, 5*time.Millisecond)
			h.mustRun(wanted{name: "work-" + h.name, on: h.name})
		}
		told := map[string]string{}
		for round := range 8 {
			name := fmt.Sprint("same:", round)
			var mu sync.Mutex
			var ids []string
			var all sync.WaitGroup
			for i, h := range w.hosts {
				all.Go(func() {
					id, err := w.hosts[(i+1)%3].commit(w.soon(), "work-"+h.name, name)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						ids = append(ids, id)
					} else if !strings.Contains(err.Error(), "image "+name+" ") {
						t.Errorf("the refusal does not name the image: %v", err)
					}
				})
			}
			all.Wait()
			if len(ids) != 1 {
				t.Fatalf("%s was given to %d images", name, len(ids))
			}
			told[name] = ids[0]
		}
		time.Sleep(time.Minute)
		w.judgeImages(told, nil)
	})
}

// Of creates of one name, whose image is long in coming to their hosts, one is done: what a
// name is checked for before that must not have changed after it (classicswarm#427).
func TestOneNameIsGivenOnceWhileItsImageComes(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		w.hosts[0].mustRun(wanted{name: "work", on: "n1"})
		w.hosts[0].mustCommit("work", "tools:1")
		made := map[string]string{"work": w.hosts[0].placements()[0].Container}
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, h := range w.hosts[1:] {
			h.twin.SetLatency(enginetest.Load, 3*time.Second)
			all.Go(func() {
				id, err := h.create(w.soon(), wanted{name: "web", on: h.name, image: "tools:1"})
				mu.Lock()
				defer mu.Unlock()
				if err == nil && made["web"] != "" {
					t.Errorf("it was made as %s and as %s", made["web"], id)
				} else if err == nil {
					made["web"] = id
				} else if !strings.Contains(err.Error(), "is already in use by") {
					t.Errorf("on %s: %v", h.name, err)
				}
			})
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took < 3*time.Second || made["web"] == "" {
			t.Errorf("made: %v, after %v", made, took)
		}
		w.judge(made)
	})
}

// A minute after a commit, the host where it was made may be lost for good.
func TestLosingTheCommittersHostAfterAMinuteLosesNoImage(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		w.hosts[0].mustRun(wanted{name: "work", on: "n1"})
		id := w.hosts[0].mustCommit("work", "tools:1")
		time.Sleep(time.Minute)
		w.hosts[0].kill()
		for _, h := range w.hosts[1:] {
			made := w.hosts[1].mustRun(wanted{name: "on-" + h.name, on: h.name, image: "tools:1"})
			c, err := h.engine().ContainerInspect(w.soon(), made)
			if err != nil || c.Image != id {
				t.Errorf("on %s the container is of %v, %v; want %s", h.name, c.Image, err, id)
			}
		}
		w.hosts[0].start()
		w.whole()
		w.judgeImages(map[string]string{"tools:1": id}, nil)
	})
}

// A removal reaches hosts that were away when they are back, and takes nothing
// else.
func TestARemovalReachesHostsThatWereAway(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		w.hosts[0].mustRun(wanted{name: "work", on: "n1"})
		keep := w.hosts[0].mustCommit("work", "keep:1")
		w.hosts[0].mustCommit("work", "tools:1")
		w.eventually("tools:1 is on a second host", func() bool {
			return w.hosts[1].means("tools:1") != "" || w.hosts[2].means("tools:1") != ""
		})
		away := w.hosts[1]
		if away.means("tools:1") == "" {
			away = w.hosts[2]
		}
		away.kill()
		if _, err := w.up()[0].docker().ImageRemove(w.soon(), "tools:1", image.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		if away.means("tools:1") == "" {
			t.Fatal("a host that is down removed its image")
		}
		away.start()
		w.eventually("the host that was away removed it too", func() bool { return away.means("tools:1") == "" })
		time.Sleep(time.Minute)
		w.judgeImages(map[string]string{"keep:1": keep}, map[string]bool{"tools:1": true})
	})
}

// A host brings its images along when it joins: new names are the cluster's from
// then on, the same image is one, and a name that is taken stays its own.
func TestAJoiningHostKeepsItsImages(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		ours := w.hosts[0].twin.AddLayered("python:3", []byte("ours"))
		theirs := w.hosts[1].twin.AddLayered("python:3", []byte("theirs"))
		fresh := w.hosts[1].twin.AddLayered("fresh:1", []byte("fresh"))
		w.hosts[0].start()
		w.eventually("the first host's image has its name", func() bool {
			return w.hosts[0].inside() != nil && w.hosts[0].names()["python:3"] == ours
		})
		w.hosts[1].start(joining(w.hosts[0], w.hosts[0].token()))
		w.whole()
		w.eventually("the new name is known", func() bool { return w.hosts[0].names()["fresh:1"] == fresh })
		if got := w.hosts[0].names()["python:3"]; got != ours {
			t.Errorf("python:3 is %s in the cluster, want the first host's %s", got, ours)
		}
		if got := w.hosts[1].means("python:3"); got != theirs {
			t.Errorf("python:3 is %s on the host that joined, want its own %s", got, theirs)
		}
		made := w.hosts[1].mustRun(wanted{name: "snake", on: "n2", image: "python:3"})
		c, err := w.hosts[1].engine().ContainerInspect(w.soon(), made)
		if err != nil || c.Image != ours {
			t.Errorf("python:3 of the cluster runs as %v, %v; want %s", c.Image, err, ours)
		}
	})
}

// A crash at any moment of a commit, of a create that brings its image along, or of
// a removal, of any machine, loses no image that was acknowledged, and leaves none
// that is nobody's.
func TestACrashAtAnyMomentOfAnImagesLifeLosesAndLeaksNothing(t *testing.T) {
	const crashes = 10
	inCluster(t, 3, func(t *testing.T, w *world) {
		l := &imageLife{world: w, rng: rand.New(rand.NewPCG(1, 1)), made: map[string]string{}, gone: map[string]bool{}}
		for _, h := range w.hosts {
			for _, op := range []enginetest.Op{enginetest.Commit, enginetest.Load, enginetest.Change, enginetest.Create} {
				h.twin.SetLatency(op, 10*time.Millisecond)
			}
			w.hosts[0].mustRun(wanted{name: "work-" + h.name, on: h.name})
		}
		for i := range crashes {
			l.once(i)
		}
		w.whole()
		time.Sleep(5 * time.Minute) // a claim of a lost commit is given up within two
		w.judgeImages(l.made, l.gone)
		t.Logf("%d crashes, %d commits acknowledged, %d removals", crashes, len(l.made), len(l.gone))
		if len(l.made) < crashes/5 {
			t.Errorf("only %d commits were acknowledged", len(l.made))
		}
	})
}

// imageLife is what clients were told of images while machines crashed.
type imageLife struct {
	*world
	rng *rand.Rand

	mu   sync.Mutex        // guards what follows
	made map[string]string // ID by name
	gone map[string]bool   // names that were removed, or may have been
}

// once does a commit, a create on another host and a removal, while a machine
// crashes at some moment, and starts it again.
func (l *imageLife) once(i int) {
	name := fmt.Sprint("life:", i)
	from, to, by := l.pick(), l.pick(), l.pick()
	dies, after := l.pick(), time.Duration(l.rng.IntN(60))*time.Millisecond
	var all sync.WaitGroup
	all.Go(func() {
		id, err := by.commit(l.soon(), "work-"+from.name, name)
		if err != nil {
			l.logs.note("%s was not committed: %v", name, err)
			return
		}
		l.mu.Lock()
		l.made[name] = id
		l.mu.Unlock()
		if i%2 == 1 {
			return
		}
		_, err = by.create(l.soon(), wanted{name: fmt.Sprint("life-", i), on: to.name, image: name})
		l.logs.note("create of %s: %v", name, err)
	})
	if old := l.oldest(); old != "" {
		l.mu.Lock()
		l.gone[old] = true // it may be, whatever is answered
		l.mu.Unlock()
		all.Go(func() {
			_, err := by.docker().ImageRemove(l.soon(), old, image.RemoveOptions{})
			l.mu.Lock()
			defer l.mu.Unlock()
			l.logs.note("removal of %s: %v", old, err)
			if err != nil {
				delete(l.gone, old)
				delete(l.made, old)
			}
		})
	}
	time.Sleep(after)
	dies.kill()
	all.Wait()
	l.eventually("somebody leads", func() bool { return l.leader() != nil })
	dies.start()
	l.whole()
}

func (l *imageLife) pick() *host { return l.hosts[l.rng.IntN(len(l.hosts))] }

// oldest returns a name that no container was made from, or "": those of odd
// rounds.
func (l *imageLife) oldest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.made)) {
		if used := (name[len(name)-1]-'0')%2 == 0; !used && !l.gone[name] {
			return name
		}
	}
	return ""
}
