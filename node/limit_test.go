package node

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/sched"
)

func TestAnUpdateWaitsForThoseOfItsContainerAlone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		_, a := h.create("web", sched.Request{MilliCPU: 500})
		_, b := h.create("log", sched.Request{MilliCPU: 500})
		h.twin.SetLatency(enginetest.Update, time.Minute)
		begun := time.Now()
		done := make(chan time.Duration, 3)
		for _, id := range []string{a, b} {
			go func() {
				if status, reply, err := h.Update(w.Context(), id, "", []byte(`{"NanoCpus":600000000}`)); status != 200 || err != nil {
					t.Errorf("got %d, %s, %v", status, reply, err)
				}
				done <- time.Since(begun)
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if _, _, err := h.Update(ctx, a, "", []byte(`{"NanoCpus":700000000}`)); err != context.DeadlineExceeded {
			t.Errorf("a client that goes away hears %v", err)
		}
		for range 2 {
			if took := <-done; took > 61*time.Second {
				t.Errorf("an update took %v", took)
			}
		}
		h.end()
		if p := w.placement("p1"); p.Grant.MilliCPU != 600 {
			t.Errorf("who went away was heard: %+v", p.Grant)
		}
	})
}

// An agent dies between what it tells the ledger and the engine.
func TestWhatAnUnfinishedChangeHeldIsFreeAgain(t *testing.T) {
	two, half := sched.Request{MilliCPU: 2000, Memory: 2 << 30}, sched.Request{MilliCPU: 500}
	for name, c := range map[string]struct {
		had    sched.Request
		wanted ledger.Limit
		told   string // of the engine; empty: nothing
		want   string
	}{
		"more cores, the engine knows nothing":  {two, ledger.Limit{MilliCPU: 3000, Memory: 4 << 30}, "", `0-1 0 2`},
		"more cores, the engine did it":         {two, ledger.Limit{MilliCPU: 3000, Memory: 4 << 30}, `{"CpusetCpus":"0-2","NanoCpus":3000000000,"Memory":4294967296}`, `0-2 0 4`},
		"fewer cores, the engine knows nothing": {two, ledger.Limit{MilliCPU: 1000, Memory: 2 << 30}, "", `0-1 0 2`},
		"fewer cores, the engine did it":        {two, ledger.Limit{MilliCPU: 1000, Memory: 1 << 30}, `{"CpusetCpus":"0","NanoCpus":1000000000,"Memory":1073741824}`, `0 0 1`},
		"no cores of its own, nothing known":    {two, ledger.Limit{MilliCPU: 1500, Memory: 2 << 30}, "", `0-1 0 2`},
		"no cores of its own any more":          {two, ledger.Limit{MilliCPU: 1500, Memory: 2 << 30}, `{"CpusetCpus":"0-3","NanoCpus":1500000000}`, ` 1500 2`},
		"cores of its own, nothing known":       {half, ledger.Limit{MilliCPU: 2000}, "", ` 500 0`},
		"cores of its own, the engine did it":   {half, ledger.Limit{MilliCPU: 2000}, `{"CpusetCpus":"0-1","NanoCpus":2000000000}`, `0-1 0 0`},
		"a smaller part, the engine did it":     {half, ledger.Limit{MilliCPU: 250}, `{"NanoCpus":250000000}`, ` 250 0`},
		"a limit at last, nothing known":        {sched.Request{}, ledger.Limit{MilliCPU: 500, Memory: 1 << 30}, "", ` 0 0`},
		"more on the host than was granted":     {half, ledger.Limit{}, `{"NanoCpus":700000000}`, ` 500 0`},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				h := w.hosts[0]
				p, id := h.create("web", c.had)
				if c.wanted.MilliCPU > 0 {
					c.wanted.Placement, c.wanted.Keep = p.ID, true
					if _, err := h.limit(c.wanted); err != nil {
						t.Fatal(err)
					}
				}
				if c.told != "" {
					if status, reply, err := h.docker.Update(w.Context(), id, "", []byte(c.told)); status != 200 || err != nil {
						t.Fatal(status, string(reply), err)
					}
				}
				held := w.placement(p.ID).Grant
				h.end()
				h.run()
				time.Sleep(time.Minute)
				if now := w.placement(p.ID).Grant; !reflect.DeepEqual(now, held) {
					t.Errorf("at once it holds %+v", now)
				}
				time.Sleep(3 * time.Minute)
				now := w.placement(p.ID).Grant
				if got := fmt.Sprint(now.Cores, now.MilliCPU, now.Memory>>30); got != c.want {
					t.Errorf("it holds %q, want %q", got, c.want)
				}
				before := w.log.Len()
				time.Sleep(10 * time.Minute)
				if n := w.log.Len() - before; n > 0 {
					t.Errorf("%d commands later it is still not settled", n)
				}
			})
		})
	}
}

// The engine carries on without its caller.
func TestAnUpdateMayLandForAWhileAfterItWasGivenUp(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, id := h.create("web", sched.Request{MilliCPU: 2000})
		h.end()
		h.run()
		h.twin.SetLatency(enginetest.Update, inheritedGrace+100*time.Second)
		if _, _, err := h.Update(w.Context(), id, "", []byte(`{"CpusetCpus":"0-3"}`)); err == nil {
			t.Fatal("the engine answered in time")
		}
		for range 95 {
			time.Sleep(time.Second)
			if now := w.placement(p.ID).Grant.Cores; now.Count() != 4 {
				t.Fatalf("it holds cores %s, and its container may get 0-3", now)
			}
		}
		time.Sleep(5 * time.Minute)
		if now := w.placement(p.ID); now.Request.Pinned() != 4 || now.Grant.Cores.Count() != 4 {
			t.Errorf("it holds %+v for %+v", now.Grant, now.Request)
		}
	})
}

func TestEachUpdateWithoutAnAnswerIsWaitedForAnew(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, _ := h.create("web", sched.Request{MilliCPU: 1000})
		for _, milli := range []int64{2000, 3000} {
			if _, err := h.limit(ledger.Limit{Placement: p.ID, MilliCPU: milli, Keep: true}); err != nil {
				t.Fatal(err)
			}
			h.look()
			time.Sleep(inheritedGrace - time.Second)
			if h.look(); w.placement(p.ID).Grant.Cores.Count() != int(milli/sched.Core) {
				t.Fatalf("it holds cores %s, and its container may get %d", w.placement(p.ID).Grant.Cores, milli/sched.Core)
			}
		}
		time.Sleep(time.Second)
		if h.look(); w.placement(p.ID).Grant.Cores.Count() != 1 {
			t.Errorf("it holds cores %s", w.placement(p.ID).Grant.Cores)
		}
	})
}

// Of the earlier one the container may have more than the placement asks for.
func TestAnUpdateTakesNothingBackThatAnEarlierOneMayHaveGiven(t *testing.T) {
	one, half := sched.Request{MilliCPU: 1000, Memory: 1 << 30}, sched.Request{MilliCPU: 500, Memory: 1 << 30}
	for name, c := range map[string]struct {
		had     sched.Request
		earlier ledger.Limit // was held when its answer was lost
		told    string
		lies    int // of the engine from then on
		body    string
		status  int // 0: it is not asked
		want    string
	}{
		"memory, refused":    {half, ledger.Limit{MilliCPU: 500, Memory: 2 << 30}, `{"Memory":2147483648}`, 0, `{"Memory":1}`, 400, ` 500 2`},
		"memory, failed":     {half, ledger.Limit{MilliCPU: 500, Memory: 2 << 30}, `{"Memory":2147483648}`, 1, `{"Memory":2147483648}`, 500, ` 500 2`},
		"a part, refused":    {half, ledger.Limit{MilliCPU: 700, Memory: 1 << 30}, `{"NanoCpus":700000000}`, 0, `{"NanoCpus":800000000,"Memory":1}`, 400, ` 700 1`},
		"cores, refused":     {one, ledger.Limit{MilliCPU: 2000, Memory: 1 << 30}, `{"CpusetCpus":"0-1","NanoCpus":2000000000}`, 0, `{"NanoCpus":3000000000,"Memory":1}`, 400, `0-1 0 1`},
		"all, others stay":   {one, ledger.Limit{MilliCPU: 2000, Memory: 2 << 30}, `{"CpusetCpus":"0-1","NanoCpus":2000000000,"Memory":2147483648}`, 1, `{"NanoCpus":3000000000}`, 0, `0-1 0 2`},
		"memory, then cores": {half, ledger.Limit{MilliCPU: 500, Memory: 2 << 30}, `{"Memory":2147483648}`, 0, `{"NanoCpus":700000000}`, 200, ` 700 2`},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				h := w.hosts[0]
				p, id := h.create("web", c.had)
				h.create("log", sched.Request{})
				c.earlier.Placement, c.earlier.Keep = p.ID, true
				if _, err := h.limit(c.earlier); err != nil {
					t.Fatal(err)
				}
				if status, reply, err := h.docker.Update(w.Context(), id, "", []byte(c.told)); status != 200 || err != nil {
					t.Fatal(status, string(reply), err)
				}
				held := w.placement(p.ID).Grant
				for range c.lies {
					h.twin.FailAfterSuccess(enginetest.Update)
				}
				if status, reply, err := h.Update(w.Context(), id, "", []byte(c.body)); status != c.status || (err != nil) != (c.status == 0) {
					t.Fatal(status, string(reply), err)
				}
				now := w.placement(p.ID).Grant
				if now.Memory < held.Memory || now.MilliCPU < held.MilliCPU || held.Cores.Minus(now.Cores).Count() > 0 {
					t.Errorf("it holds %+v, and its container may have %+v", now, held)
				}
				h.look()
				time.Sleep(inheritedGrace)
				h.look()
				now = w.placement(p.ID).Grant
				if got := fmt.Sprint(now.Cores, now.MilliCPU, now.Memory>>30); got != c.want {
					t.Errorf("in the end it holds %q, want %q", got, c.want)
				}
			})
		})
	}
}

// Before it is confirmed the ledger does not know whose limits are changed, and holds what it
// has reserved.
func TestAContainerThatIsNotConfirmedKeepsItsLimits(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("web", sched.Request{MilliCPU: 2000})
		h.replica.Cut(true)
		var made struct{ ID string }
		if _, reply, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); err != nil || json.Unmarshal(reply, &made) != nil {
			t.Fatal(err)
		}
		id := made.ID
		_, _, err := h.Update(w.Context(), id, "", []byte(`{"CpusetCpus":"0-3"}`))
		wantRefusal(t, err, ledger.Busy, "not know yet that container web is made")
		h.replica.Cut(false)
		h.look()
		if _, _, err := h.Update(w.Context(), id, "", []byte(`{"CpusetCpus":"0-3"}`)); err != nil || w.placement(p.ID).Grant.Cores.Count() != 4 {
			t.Errorf("%v, it holds %s", err, w.placement(p.ID).Grant.Cores)
		}
	})
}
