package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/sched"
)

// boxed makes the container "box" here, to be committed.
func (h *host) boxed() {
	h.w.Helper()
	h.create("box", sched.Request{})
}

func (h *host) commitAs(claim, name string, index uint64) (int, []byte, error) {
	return h.Commit(h.w.Context(), Commit{Claim: claim, Name: name, Owner: "alice", Index: index, Query: "container=box"})
}

// crash ends the agent's life and begins another.
func (h *host) crash() {
	h.end()
	h.replica.Before(nil)
	h.replica.Cut(false)
	h.live()
}

// wantMade is an image that the cluster knows by the name, and so does the host.
func (h *host) wantMade(name string) {
	h.w.Helper()
	id := h.w.named(name)
	if len(id) < 64 {
		h.w.Errorf("%s is %q in the cluster", name, id)
	}
	h.wantTag(name, id)
	wantList(h.w.T, "holders", h.w.holders(id), h.cfg.Name)
	h.w.log.Replica().View(func(l *ledger.Ledger) {
		if i := l.Image(name); i != nil && (i.Owner != "alice" || i.Node != h.id || len(i.Layers) == 0) {
			h.w.Errorf("%s is %+v", name, *i)
		}
	})
}

func TestCommitIsNamedBeforeAnybodyHears(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		index := h.claim("claim", "reg:5000/app:2")
		status, reply, err := h.commitAs("claim", "reg:5000/app:2", index)
		if status != statusCreated || err != nil || idIn(t, reply) != w.named("reg:5000/app:2") {
			t.Errorf("%d %s %v", status, reply, err)
		}
		h.wantMade("reg:5000/app:2")
	})
}

func TestCommitWithoutANameIsKnownByItsID(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		status, reply, err := h.Commit(w.Context(), Commit{Query: "container=box&repo=stray"})
		if status != statusCreated || err != nil {
			t.Fatalf("%d %s %v", status, reply, err)
		}
		wantList(t, "holders", w.holders(idIn(t, reply)), "n1")
		if h.tags()["stray:latest"] != "" {
			t.Error("a name without a claim was given")
		}
	})
}

func TestRefusedCommitGivesItsClaimUp(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		index := h.claim("claim", "app:2")
		if status, _, err := h.commitAs("claim", "app:2", index); status != 404 || err != nil {
			t.Errorf("%d %v", status, err)
		}
		if w.named("app:2") != "" {
			t.Error("the name is still claimed")
		}
	})
}

func TestCommitGoesOnWithoutItsCaller(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		h.twin.SetLatency(enginetest.Commit, 10*time.Minute)
		index := h.claim("claim", "app:2")
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		c := Commit{Claim: "claim", Name: "app:2", Owner: "alice", Index: index, Query: "container=box"}
		if _, _, err := h.Commit(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		h.look()
		if w.named("app:2") != "claim" {
			t.Fatal("the claim was given up under the commit")
		}
		status, _, err := h.Commit(w.Context(), c) // which joins
		if status != statusCreated || err != nil {
			t.Errorf("%d %v", status, err)
		}
		h.wantMade("app:2")
	})
}

func TestCommitOfALostClaimTouchesNothing(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		var winner, loser *host
		var index uint64
		for _, h := range w.hosts {
			h.create("c-"+h.cfg.Name, sched.Request{})
			r, at, err := w.log.Replica().Propose(w.Context(), ledger.Command{Claim: &ledger.Claim{Claim: h.id, Name: "app:2", Node: h.id, Owner: "alice"}})
			switch {
			case err != nil:
				t.Fatal(err)
			case r.Refusal == nil:
				winner, index = h, at
			default:
				wantRefusal(t, r.Refusal, ledger.Conflict, "is being made on host n1")
				loser = h
			}
		}
		var commits sync.WaitGroup
		for _, h := range w.hosts {
			commits.Go(func() {
				status, _, err := h.Commit(w.Context(), Commit{Claim: h.id, Name: "app:2", Owner: "alice", Index: index, Query: "container=c-" + h.cfg.Name})
				if h == winner && (status != statusCreated || err != nil) {
					t.Errorf("winner: %d %v", status, err)
				}
				if h == loser {
					wantRefusal(t, err, ledger.Conflict, "no longer being made by this request")
				}
			})
		}
		commits.Wait()
		winner.wantMade("app:2")
		if loser.tags()["app:2"] != "" {
			t.Error("the loser has the name, too")
		}
	})
}

func TestCommitWhoseClaimIsTakenMeanwhileIsUndone(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		other := w.hosts[1].publish("x:1", "x")
		index := h.claim("claim", "app:2")
		h.replica.Before(func(c ledger.Command) {
			if c.NameImage != nil {
				w.propose(ledger.Command{Unclaim: &ledger.Unclaim{Claim: "claim"}})
				w.propose(ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "app:2", ID: other, Node: "id-n2"}}})
			}
		})
		_, _, err := h.commitAs("claim", "app:2", index)
		wantRefusal(t, err, ledger.Conflict, "already exists on host n2")
		if len(h.tags()) != 1 {
			t.Errorf("n1 has %v", h.tags())
		}
	})
}

// Each case is a crash of the agent at one step of a commit, or an engine that
// leaves it in doubt.
func TestCommitThatCrashesIsSettled(t *testing.T) {
	for _, c := range []struct {
		name  string
		until func(h *host, index uint64) // what happens until the crash
		made  bool                        // then the image has its name, else the name is free
	}{
		{"before the engine is asked", func(*host, uint64) {}, false},
		{"while the engine makes it", func(h *host, index uint64) {
			h.twin.SetLatency(enginetest.Commit, time.Second)
			time.AfterFunc(time.Second/2, h.Node.stop)
			if _, _, err := h.commitAs("claim", "app:2", index); err == nil {
				h.w.Error("a commit that broke off went well")
			}
		}, true},
		{"when the engine has made it", func(h *host, index uint64) {
			h.replica.Before(func(c ledger.Command) { h.replica.Cut(c.NameImage != nil) })
			if status, _, err := h.commitAs("claim", "app:2", index); status != statusCreated || err != nil {
				h.w.Errorf("%d %v: the claim stands in for the name", status, err)
			}
		}, true},
		{"when the ledger has its name", func(h *host, index uint64) {
			if status, _, err := h.commitAs("claim", "app:2", index); status != statusCreated || err != nil {
				h.w.Errorf("%d %v", status, err)
			}
		}, true},
		{"after the engine broke off", func(h *host, index uint64) {
			h.twin.SetLatency(enginetest.Commit, time.Second)
			time.AfterFunc(time.Second/2, h.twin.Restart)
			if _, _, err := h.commitAs("claim", "app:2", index); err == nil {
				h.w.Error("a commit that broke off went well")
			}
		}, false},
		{"after the engine failed it in vain", func(h *host, index uint64) {
			h.twin.FailAfterSuccess(enginetest.Commit)
			if status, _, err := h.commitAs("claim", "app:2", index); status != statusFailed || err != nil {
				h.w.Errorf("%d %v", status, err)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				h := w.hosts[0]
				h.boxed()
				c.until(h, h.claim("claim", "app:2"))
				h.crash()
				time.Sleep(2 * time.Second)
				h.look()
				if c.made {
					h.wantMade("app:2")
					return
				}
				if w.named("app:2") != "claim" {
					t.Error("given up before the grace was over")
				}
				time.Sleep(inheritedGrace)
				h.look()
				if got := w.named("app:2"); got != "" {
					t.Errorf("app:2 is still %s", got)
				}
			})
		})
	}
}

func TestCommitThatNeverReachesItsHolderBlocksTheNameForItsGraceOnly(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		w.propose(ledger.Command{Claim: &ledger.Claim{Claim: "commit", Name: "app:2", Node: h.id, Commit: true}})
		h.claim("pull", "other:1")
		h.look()
		if w.named("app:2") != "commit" {
			t.Error("it is given up at once")
		}
		time.Sleep(claimGrace)
		h.look()
		if w.named("app:2") != "" || w.named("other:1") != "pull" {
			t.Errorf("app:2 is %q, other:1 is %q", w.named("app:2"), w.named("other:1"))
		}
	})
}

func TestNameThatPlainDockerGaveAMomentAgoIsNotTaken(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		code := h.publish("web:1", "code")
		own := h.twin.AddLayered("app:2", []byte("mine"))
		_, _, err := h.commitAs("claim", "app:2", h.claim("claim", "app:2"))
		wantRefusal(t, err, ledger.Conflict, "image app:2 already exists on host n1")
		h.wantTag("app:2", own)
		if w.named("app:2") != "" || len(h.kick) != 1 {
			t.Errorf("app:2 is %q", w.named("app:2"))
		}
		wantRefusal(t, h.NameImage(w.Context(), "", code, "app:2", "alice"), ledger.Conflict, "image app:2 already exists on host n1")
		h.wantTag("app:2", own)
		h.look()
		if w.named("app:2") != own {
			t.Error("it is not published")
		}
	})
}

func TestNameThatIsToBeTakenAwayMayBeGivenAgain(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		h.publish("app:2", "old")
		w.unname("app:2", false) // nobody has done it yet
		status, _, err := h.commitAs("claim", "app:2", h.claim("claim", "app:2"))
		if status != statusCreated || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		h.wantMade("app:2")
	})
}

// A commit is undone while another image gets the name.
func TestUndoneCommitLeavesTheNameToWhoHasItByThen(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		other, own := w.hosts[1].publish("x:1", "x"), ""
		index := h.claim("claim", "app:2")
		h.replica.Before(func(c ledger.Command) {
			if c.NameImage != nil {
				own = h.twin.AddLayered("app:2", []byte("mine"))
				w.propose(ledger.Command{Unclaim: &ledger.Unclaim{Claim: "claim"}})
				w.propose(ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "app:2", ID: other, Node: "id-n2"}}})
			}
		})
		_, _, err := h.commitAs("claim", "app:2", index)
		wantRefusal(t, err, ledger.Conflict, "already exists on host n2")
		h.wantTag("app:2", own)
	})
}

func TestCommitInDoubtWaitsForItsGraceOnly(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.boxed()
		index := h.claim("claim", "app:2")
		pull := h.claim("pull", "other:1")
		if pull <= index {
			w.Fatal("the log goes backwards")
		}
		h.look()
		h.twin.SetLatency(enginetest.Commit, time.Second)
		time.AfterFunc(time.Second/2, h.twin.Restart)
		if _, _, err := h.commitAs("claim", "app:2", index); err == nil {
			w.Fatal("a commit that broke off went well")
		}
		time.Sleep(claimGrace)
		h.look()
		if w.named("app:2") != "" {
			t.Error("the claim of the commit stays")
		}
		if w.named("other:1") != "pull" {
			t.Error("the claim of a pull under way was given up")
		}
	})
}

func TestImageGetsANameInTheLedgerAndHere(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		other := w.hosts[1].publish("db:1", "data")
		if err := h.NameImage(w.Context(), "", id, "web:2", "alice"); err != nil {
			t.Fatal(err)
		}
		h.wantMade("web:2")
		wantRefusal(t, h.NameImage(w.Context(), "", id, "db:1", "alice"), ledger.Conflict, "already exists on host n2")
		wantRefusal(t, h.NameImage(w.Context(), "", other, "db:2", "alice"), ledger.Unknown, "No such image on host n1")
		wantRefusal(t, h.NameImage(w.Context(), "", id, "Not/A:name:", "alice"), ledger.Invalid, "")
		if h.tags()["db:1"] != "" || w.named("db:2") != "" {
			t.Error("a refused name was given")
		}
	})
}

func TestNameThatACrashKeptFromTheEngineIsGivenLater(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		w.propose(ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "web:2", ID: id, Node: h.id}}})
		h.crash()
		h.look()
		h.wantTag("web:2", id)
		before := w.log.Len()
		h.look()
		if after := w.log.Len(); after != before {
			t.Errorf("%d more commands where all agrees", after-before)
		}
	})
}
