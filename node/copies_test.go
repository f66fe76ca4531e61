package node

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

func TestPlanOfCopies(t *testing.T) {
	third := ledger.Command{Register: &ledger.Register{Node: "id-third", Name: "a-third"}}
	named := []ledger.Command{third, has(here, img("a"), img("b")), calls("web:1", "a")}
	base := ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "base:1", ID: "b", Node: here, Layers: []ledger.Layer{{Chain: "x", Size: 1}}}}}
	only := []ledger.Command{third, has(here, img("a", "web:1")), {Merge: &ledger.Merge{Node: here, Images: []ledger.Image{{Name: "web:1", ID: "a", Layers: []ledger.Layer{{Chain: "x", Size: 7}, {Chain: "y", Size: 9}}}}}}}
	silent := ledger.Command{Observe: &ledger.Observe{Node: "id-third", Closed: "silent"}}
	for _, c := range []struct {
		name   string
		ledger []ledger.Command
		node   string // here, if empty
		dead   []string
		failed []string          // targets that failed a moment ago
		coming map[string]string // images on their way, by target
		want   string
	}{
		{name: "an image on enough hosts is left", ledger: named},
		{name: "of equals the first by name is asked", ledger: only, want: "web:1 to id-third"},
		{name: "one that just failed is passed over", ledger: only, failed: []string{"id-third"}, want: "web:1 to id-there"},
		{name: "nobody is asked when all did", ledger: only, failed: []string{"id-third", there}},
		{name: "one that another image comes to is passed over", ledger: only, coming: map[string]string{"id-third": "b"}, want: "web:1 to id-there"},
		{name: "a copy on its way is one", ledger: only, coming: map[string]string{"id-third": "a"}},
		{name: "only who has the image acts", ledger: only, node: there},
		{name: "of several, the first", ledger: slices.Concat(named, []ledger.Command{base}), node: there, dead: []string{here}, want: "web:1 to id-third"},
		{name: "who is dead has no copy and gets none", ledger: only, dead: []string{"id-third"}, want: "web:1 to id-there"},
		{name: "no more copies than live hosts", ledger: only, dead: []string{"id-third", there}},
		{name: "who lacks the least is asked first", ledger: slices.Concat(only, []ledger.Command{calls("base:1", "b")}), want: "web:1 to id-there"},
		{name: "a host whose engine is silent is not asked", ledger: slices.Concat(only, []ledger.Command{silent}), want: "web:1 to id-there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, lately := history(t, c.ledger...), newCopies()
			for _, node := range c.failed {
				lately.begin(replica{id: "a", target: node})
				lately.end(replica{id: "a", target: node})
			}
			for node, image := range c.coming {
				lately.begin(replica{id: image, target: node})
			}
			alive := func(node string) bool { return !slices.Contains(c.dead, node) }
			r, found := planCopy(l, cmp.Or(c.node, here), alive, lately)
			got := ""
			if found {
				got = r.name + " to " + r.target
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHostThatDoesNotKnowOfAnImageYetAsksTheLedger(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[1]
		h.replica.Lag()
		id := w.hosts[0].publish("web:1", "code")
		h.bring(id, "web:1")
		h.wantTag("web:1", id)
	})
}

func TestCopyThatFailsForAMomentIsMadeWithinAMinute(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		failures := 2
		w.asking = func(context.Context, string) error {
			if failures--; failures >= 0 {
				return errUnplugged
			}
			return nil
		}
		id := w.hosts[0].publish("web:1", "code")
		w.hosts[0].run()
		w.within(time.Minute, "both hosts have it", func() bool { return len(w.holders(id)) == 2 })
		w.hosts[0].wantWarnings("no route to host", "no route to host")
	})
}

func TestHostThatNeverTakesACopyIsAskedSeldom(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		began, asked := time.Now(), []time.Duration{}
		w.asking = func(context.Context, string) error {
			asked = append(asked, time.Since(began).Round(time.Second))
			time.Sleep(3 * time.Minute) // which is longer than any pause
			began = time.Now()
			return errUnplugged
		}
		w.hosts[0].publish("web:1", "code")
		w.hosts[0].run()
		time.Sleep(30 * time.Minute)
		w.hosts[0].end()
		want := []time.Duration{0, 5, 10, 20, 40, 80, 120, 120}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked after pauses of %v, want %v", asked, want)
		}
	})
}

func TestCopyToAHostThatBecomesUselessGoesElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(h *host)
		warning string
	}{
		"its engine hangs": {func(h *host) {
			h.twin.SetLatency(enginetest.Load, time.Hour)
			time.AfterFunc(5*time.Second, h.twin.Hang)
		}, "host n2 is out of order: its Docker Engine does not answer"},
		"it dies": {func(h *host) {
			h.twin.SetLatency(enginetest.Load, time.Hour)
			h.w.die(h.id)
		}, "host n2 does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, func(w *world) {
				w.asking = func(_ context.Context, id string) error {
					if id == "id-n2" {
						c.happens(w.hosts[1])
					}
					return nil
				}
				id := w.hosts[0].publish("web:1", "code")
				w.hosts[1].run()
				w.hosts[0].run()
				w.within(time.Minute, "another host has it", func() bool { return len(w.holders(id)) == 2 })
				wantList(t, "holders", w.holders(id), "n1", "n3")
				w.hosts[0].wantWarnings(c.warning)
			})
		})
	}
}

func TestCopiesDoNotWaitForOneAnother(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		var mu sync.Mutex
		open := []string{}
		w.asking = func(ctx context.Context, id string) error {
			mu.Lock()
			open = append(open, id)
			mu.Unlock()
			if id == "id-n2" {
				<-ctx.Done() // stands still
			}
			time.Sleep(time.Minute)
			return ctx.Err()
		}
		first := w.hosts[0].publish("a:1", "a")
		second := w.hosts[0].publish("b:1", "b")
		w.hosts[0].publish("c:1", "c")
		w.hosts[0].run()
		time.Sleep(30 * time.Second)
		mu.Lock()
		slices.Sort(open)
		wantList(t, "asked at once", open, "id-n2", "id-n3")
		mu.Unlock()
		time.Sleep(time.Minute)
		wantList(t, "holders of the first", w.holders(first), "n1")
		wantList(t, "holders of the second", w.holders(second), "n1", "n3")
	})
}
