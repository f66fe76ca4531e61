package api

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

// propose has the ledger carry out a command as a node does that dies after it.
func (w *world) propose(c ledger.Command) {
	w.Helper()
	if r, _, err := w.hosts[0].replica.Propose(w.Context(), c); err != nil || r.Refusal != nil {
		w.Fatal(err, r.Refusal)
	}
}

func TestANameThatWasTakenForNothingIsGivenBack(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		for _, kind := range []ledger.Kind{ledger.Network, ledger.Volume} {
			w.propose(ledger.Command{Define: &ledger.Define{Kind: kind, Name: "half", Home: "id-n2", Spec: []byte(`{"Name":"half"}`)}})
		}
		time.Sleep(time.Minute)
		w.hosts[0].want(http.StatusConflict, "already exists on host n2", post, "/networks/create", `{"Name":"half"}`) // somebody may be at it
		time.Sleep(5 * time.Minute)
		w.hosts[0].network("half")
		w.hosts[0].want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"half"}`)
	})
}

func TestWhatWasMadeAndNotToldIsFound(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.propose(ledger.Command{Define: &ledger.Define{Kind: ledger.Network, Name: "half", Home: "id-n2", Spec: []byte(`{"Name":"half"}`)}})
		if _, _, err := w.hosts[1].docker.CreateNetwork(w.Context(), []byte(`{"Name":"half"}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w.log.Replica().View(func(l *ledger.Ledger) {
			if o := l.Object(ledger.Network, "half"); o == nil || o.ID == "" || len(o.On) != 1 {
				t.Errorf("the ledger has %+v", o)
			}
		})
		w.hosts[0].create("web", withNetwork("half"))
		if got := w.placement("web").Node; got != "id-n2" {
			t.Errorf("its container is on %s", got)
		}
	})
}

func TestAContainerWhoseMoveBrokeOffIsStillThere(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		w.hosts[0].create("db", withNetwork("shop"))
		p := w.placement("db")
		other := map[string]string{"id-n1": "id-n2", "id-n2": "id-n1"}[p.Node]
		w.propose(ledger.Command{Move: &ledger.Move{Placements: []string{p.ID}, Candidates: []string{other}}})
		time.Sleep(5 * time.Minute)
		w.hosts[0].want(http.StatusConflict, "still being created", get, "/containers/db/json", "")
		time.Sleep(20 * time.Minute)
		wantList(t, "containers of the old host", w.host(p.Node).has(), "db")
		wantList(t, "containers of the new host", w.host(other).has())
		w.hosts[0].want(http.StatusOK, p.Container, get, "/containers/db/json", "")
		w.hosts[1].want(http.StatusNoContent, "", del, "/containers/db", "")
	})
}

func TestALeftoverGoesWhenItsHostIsBack(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		w.hosts[0].create("near", withNetwork("shop"))
		home := w.placement("near").Node
		other := map[string]string{"id-n1": "n2", "id-n2": "n1"}[home]
		w.hosts[0].create("far", `{"Image":"busybox","Labels":{"ddocker.node":"`+other+`"},"HostConfig":{"NetworkMode":"shop"}}`)
		for _, name := range []string{"near", "far"} {
			w.hosts[0].want(http.StatusNoContent, "", del, "/containers/"+name, "")
		}
		w.host("id-" + other).twin.Hang()
		w.host(home).want(http.StatusNoContent, "", del, "/networks/shop", "")
		time.Sleep(time.Minute)
		w.host("id-" + other).twin.Unhang()
		time.Sleep(2 * time.Minute)
		wantList(t, "hosts with the network", w.where("shop"))
		w.log.Replica().View(func(l *ledger.Ledger) {
			if left := l.Leftovers("id-" + other); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	})
}

func TestANetworkIsMadeOnAHostThatCanBeReached(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.busy("busy", "n1", 2) // so that n2 is the emptiest
		w.hosts[0].api.cfg.Peer = func(string) http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to host")}
			})
		}
		w.hosts[0].network("shop")
		wantList(t, "hosts with the network", w.where("shop"), "id-n1")
	})
}
