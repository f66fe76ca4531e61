package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// networkRow is what of a network tests look at.
type networkRow struct{ ID, Name, Driver string }

func (h *agent) networks() (names []string) {
	h.w.Helper()
	for _, n := range read[[]networkRow](h.w, h.want(http.StatusOK, "", get, "/networks", "")) {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// network makes one and returns its ID.
func (h *agent) network(name string) string {
	h.w.Helper()
	return read[networkRow](h.w, h.want(http.StatusCreated, "", post, "/networks/create", `{"Name":"`+name+`"}`)).ID
}

// own are the networks and volumes of the host's own engine, by name, but for those of
// every engine.
func (h *agent) own() (names []string) {
	h.w.Helper()
	networks, err := h.docker.Networks(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	volumes, err := h.docker.Volumes(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	for name := range networks {
		if !slices.Contains(predefined, name) {
			names = append(names, name)
		}
	}
	for name := range volumes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// where returns on which hosts engines have the network or volume.
func (w *world) where(name string) (hosts []string) {
	for _, h := range w.hosts {
		if slices.Contains(h.own(), name) {
			hosts = append(hosts, h.id)
		}
	}
	return hosts
}

func withNetwork(name string) string {
	return `{"Image":"busybox","HostConfig":{"NetworkMode":"` + name + `"}}`
}

func TestContainersOfANetworkAreOnOneHost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[0].network("shop")
		for i, ref := range []string{"shop", id, id[:12]} {
			name := fmt.Sprintf("c%d", i)
			w.hosts[i].create(name, withNetwork(ref))
			w.hosts[i].want(http.StatusNoContent, "", post, "/containers/"+name+"/start", "")
		}
		node := w.placement("c0").Node
		if w.placement("c1").Node != node || w.placement("c2").Node != node {
			t.Errorf("they are on %s, %s and %s", node, w.placement("c1").Node, w.placement("c2").Node)
		}
		w.settle()
		wantList(t, "hosts with the network", w.where("shop"), node)
		in := read[struct {
			ID         string
			Containers map[string]struct{ Name string }
		}](w, w.hosts[1].want(http.StatusOK, "", get, "/networks/shop", ""))
		if in.ID != id || len(in.Containers) != 3 {
			t.Errorf("inspected as %+v", in)
		}
	})
}

func TestANetworkIsListedOnceAndItsNameIsTakenOnce(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].network("shop")
		for _, h := range w.hosts {
			wantList(t, "networks", h.networks(), "bridge", "host", "none", "shop")
			h.want(http.StatusConflict, "network with name shop already exists", post, "/networks/create", `{"name":"shop"}`)
		}
		if _, _, err := w.hosts[1].docker.CreateNetwork(w.Context(), []byte(`{"Name":"byhand"}`)); err != nil {
			t.Fatal(err)
		}
		wantList(t, "networks", w.hosts[2].networks(), "bridge", "byhand", "host", "none", "shop")
		w.hosts[2].want(http.StatusConflict, "network with name byhand already exists", post, "/networks/create", `{"Name":"byhand"}`)
		w.hosts[2].create("guest", withNetwork("byhand"))
		if got := w.placement("guest").Node; got != "id-n2" {
			t.Errorf("the guest of a network of n2 is on %s", got)
		}
	})
}

func TestANetworkThatAnEngineRefusesLeavesNoName(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].want(http.StatusNotFound, `plugin \"odd\" not found`, post, "/networks/create", `{"Name":"shop","Driver":"odd"}`)
		w.hosts[0].want(http.StatusForbidden, "predefined", post, "/networks/create", `{"Name":"bridge"}`)
		w.hosts[0].want(http.StatusBadRequest, "no JSON object", post, "/networks/create", `[]`)
		w.hosts[0].want(http.StatusBadRequest, "the same to Docker", post, "/networks/create", `{"Name":"a","name":"b"}`)
		w.hosts[0].want(http.StatusBadRequest, "", post, "/networks/create", `{"Name":"a"}{"Name":"b"}`)
		w.hosts[1].network("shop")
	})
}

func TestANetworkGoesWhereItsFirstContainerFindsRoom(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].network("shop")
		first := w.where("shop")[0]
		other := map[string]string{"id-n1": "n2", "id-n2": "n1"}[first]
		w.hosts[0].create("far", `{"Image":"busybox","Labels":{"ddocker.node":"`+other+`"},"HostConfig":{"NetworkMode":"shop"}}`)
		w.hosts[0].want(http.StatusNoContent, "", post, "/containers/far/start", "")
		w.settle()
		time.Sleep(time.Minute) // reconciled
		wantList(t, "hosts with the network", w.where("shop"), "id-"+other)
		if in := read[networkRow](w, w.hosts[0].want(http.StatusOK, "", get, "/networks/"+id, "")); in.ID != id {
			t.Errorf("the network is known as %s now, and was %s", in.ID, id)
		}
		for _, path := range []string{"/containers/far/json", "/containers/json?all=1", "/containers/json?all=1&filters=" + url.QueryEscape(`{"network":["`+id+`"]}`)} {
			w.hosts[0].want(http.StatusOK, `"NetworkID":"`+id+`"`, get, path, "")
		}
		for _, n := range read[[]networkRow](w, w.hosts[1].want(http.StatusOK, "", get, "/networks", "")) {
			if n.Name == "shop" && n.ID != id {
				t.Errorf("the network is listed as %s, and was %s", n.ID, id)
			}
		}
	})
}

func TestAContainerThatAsksForAHostHasItsNetworkThereToo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		w.hosts[0].create("first", withNetwork("shop"))
		other := map[string]string{"id-n1": "n2", "id-n2": "n1"}[w.placement("first").Node]
		w.hosts[0].create("far", `{"Image":"busybox","Labels":{"ddocker.node":"`+other+`"},"HostConfig":{"NetworkMode":"shop"}}`)
		if got := w.where("shop"); len(got) != 2 {
			t.Errorf("the network is on %v", got)
		}
		w.hosts[0].want(http.StatusForbidden, "is used by container far", del, "/networks/shop", "")
		w.hosts[0].want(http.StatusNoContent, "", del, "/containers/far", "")
		w.hosts[0].want(http.StatusNoContent, "", del, "/networks/shop", "")
		time.Sleep(time.Minute)
		wantList(t, "hosts with the network", w.where("shop"))
		wantList(t, "networks", w.hosts[1].networks(), "bridge", "host", "none")
	})
}

func TestConnectStaysOnTheContainersHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		w.hosts[0].create("one", on("n1"))
		w.hosts[1].want(http.StatusOK, "", post, "/networks/shop/connect", `{"Container":"one"}`)
		w.hosts[0].create("two", `{"Image":"busybox","HostConfig":{"Binds":["/srv:/srv"]}}`)
		w.hosts[1].create("three", `{"Image":"busybox","HostConfig":{"Binds":["/srv:/srv"]}}`)
		w.hosts[1].want(http.StatusOK, "", post, "/networks/shop/connect", `{"container":"two"}`)
		w.hosts[1].want(http.StatusConflict, "does not reach", post, "/networks/shop/connect", `{"Container":"three"}`)
		wantList(t, "hosts with the network", w.where("shop"), "id-n1")
		w.hosts[1].want(http.StatusNotFound, "network nowhere not found", post, "/networks/nowhere/connect", `{"Container":"one"}`)
		w.hosts[1].want(http.StatusNotFound, "No such container: nobody", post, "/networks/shop/connect", `{"Container":"nobody"}`)
		w.hosts[1].want(http.StatusOK, "", post, "/networks/shop/disconnect", `{"Container":"two"}`)
		w.log.Replica().View(func(l *ledger.Ledger) {
			if users := l.UsersOf(l.Object(ledger.Network, "shop")); len(users) != 1 || users[0].Name != "one" {
				t.Errorf("its users are %v", users)
			}
		})
	})
}

// users are the containers that count as users of the network.
func (w *world) users(network string) (names []string) {
	w.log.Replica().View(func(l *ledger.Ledger) {
		for _, p := range l.UsersOf(l.Object(ledger.Network, network)) {
			names = append(names, p.Name)
		}
	})
	slices.Sort(names)
	return names
}

// Who counts as a user of a network keeps it on a host.
func TestAConnectThatFailsLeavesNoUser(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		home := w.where("shop")[0]
		away := map[string]string{"id-n1": "n2", "id-n2": "n1"}[home]
		w.hosts[0].create("web", on(away))
		far := w.host("id-" + away)
		furnish := far.api.local.furnishOne
		for works := range 2 { // it may also be gone again by the second time
			calls := 0
			far.api.local.furnishOne = func(ctx context.Context, network string) error {
				if calls++; calls > works {
					return errors.New("pool overlaps")
				}
				return furnish(ctx, network)
			}
			w.hosts[0].want(http.StatusServiceUnavailable, "pool overlaps", post, "/networks/shop/connect", `{"Container":"web"}`)
			wantList(t, "users", w.users("shop"))
			if works == 0 {
				time.Sleep(5 * time.Minute)
				wantList(t, "hosts with the network", w.where("shop"), home)
				wantList(t, "networks", w.hosts[0].networks(), "bridge", "host", "none", "shop")
			}
		}
		far.api.local.furnishOne = furnish
		if err := furnish(w.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		far.twin.FailAfterSuccess(enginetest.Change)
		w.hosts[0].want(http.StatusInternalServerError, "after the fact", post, "/networks/shop/connect", `{"Container":"web"}`)
		wantList(t, "users", w.users("shop"), "web")
	})
}

func TestADisconnectOfWhatIsNotConnectedLeavesNoUser(t *testing.T) {
	for name, made := range map[string]bool{"and the host has the network": true, "and the host has no such network": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.hosts[0].network("shop")
				host, status := w.where("shop")[0], http.StatusInternalServerError
				if !made {
					host, status = map[string]string{"id-n1": "id-n2", "id-n2": "id-n1"}[host], http.StatusForbidden
				}
				w.hosts[0].create("web", on(strings.TrimPrefix(host, "id-")))
				p := w.placement("web")
				if _, _, err := w.log.Replica().Propose(w.Context(), ledger.Command{Attach: &ledger.Attach{Placement: p.ID, Network: "shop"}}); err != nil {
					t.Fatal(err)
				}
				wantList(t, "users", w.users("shop"), "web")
				w.hosts[0].want(status, "not connected", post, "/networks/shop/disconnect", `{"Container":"web"}`)
				wantList(t, "users", w.users("shop"))
			})
		})
	}
}

// The node that was asked dies between what it tells the ledger and the engine.
func TestAConnectThatDiedHalfWayIsUndoneInTheEnd(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		home := w.where("shop")[0]
		for _, name := range []string{"web", "db", "cache"} {
			w.hosts[0].create(name, on(strings.TrimPrefix(home, "id-")))
			if name == "cache" {
				continue
			}
			attach := &ledger.Attach{Placement: w.placement(name).ID, Network: "shop"}
			if _, _, err := w.log.Replica().Propose(w.Context(), ledger.Command{Attach: attach}); err != nil {
				t.Fatal(err)
			}
		}
		w.hosts[0].want(http.StatusOK, "", post, "/networks/shop/connect", `{"Container":"cache"}`)
		time.Sleep(8 * time.Minute) // a connect may take some
		wantList(t, "users", w.users("shop"), "cache", "db", "web")
		w.hosts[0].want(http.StatusOK, "", post, "/networks/shop/connect", `{"Container":"db"}`)
		time.Sleep(5 * time.Minute)
		wantList(t, "users", w.users("shop"), "cache", "db")
		before := w.log.Len()
		time.Sleep(20 * time.Minute)
		if n := w.log.Len() - before; n > 0 {
			t.Errorf("%d commands later it is still not settled", n)
		}
	})
}

// A detachment that nobody heard the end of is decided after the container was connected again.
func TestADetachmentThatComesLateLeavesItsUser(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.hosts[0].network("shop")
		for _, name := range []string{"web", "db"} {
			w.hosts[0].create(name, withNetwork("shop"))
		}
		w.settle()
		late := func() {
			for _, name := range []string{"web", "db"} {
				detach := &ledger.Attach{Placement: w.placement(name).ID, Network: "shop", Detach: true}
				if _, _, err := w.log.Replica().Propose(w.Context(), ledger.Command{Attach: detach}); err != nil {
					t.Fatal(err)
				}
			}
		}
		late()
		w.hosts[0].want(http.StatusOK, "", post, "/networks/shop/connect", `{"Container":"db"}`)
		wantList(t, "users", w.users("shop"), "db")
		time.Sleep(12 * time.Minute)
		wantList(t, "users", w.users("shop"), "db", "web")
		w.hosts[0].want(http.StatusOK, "", post, "/networks/shop/disconnect", `{"Container":"db"}`)
		time.Sleep(12 * time.Minute)
		wantList(t, "users", w.users("shop"), "web")
	})
}

func TestNetworksOfAHostThatIsDownStayListed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		w.hosts[0].create("web", withNetwork("shop"))
		w.settle()
		holder := w.host(w.placement("web").Node)
		asked := w.hosts[0]
		if asked == holder {
			asked = w.hosts[1]
		}
		holder.fail()
		wantList(t, "networks", asked.networks(), "bridge", "host", "none", "shop")
		asked.want(http.StatusConflict, "already exists on host", post, "/networks/create", `{"Name":"shop"}`)
		asked.want(http.StatusServiceUnavailable, "does not answer", get, "/networks/shop", "")
		asked.want(http.StatusServiceUnavailable, "network shop is on host", post, "/containers/create?name=more", withNetwork("shop"))
	})
}

func TestANetworkThatSomebodyRemovedOnItsHostIsGone(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].network("shop")
		for _, h := range w.hosts {
			if ids, err := h.docker.Networks(w.Context()); err == nil && ids["shop"] != "" {
				if err := h.docker.RemoveNetwork(w.Context(), ids["shop"]); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(2 * time.Minute)
		wantList(t, "networks", w.hosts[0].networks(), "bridge", "host", "none")
		w.hosts[1].network("shop")
	})
}

func TestAPruneTakesWhatNoContainerUsesOnAllHosts(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].network("used")
		w.hosts[0].network("idle")
		w.hosts[0].create("web", `{"Image":"busybox","HostConfig":{"NetworkMode":"used","Binds":["data:/d"]}}`)
		w.hosts[0].want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"spare"}`)
		got := w.hosts[1].want(http.StatusOK, "", post, "/networks/prune", "")
		if !strings.Contains(got.body, `["idle"]`) {
			t.Errorf("pruned %s", got.body)
		}
		if got := w.hosts[1].want(http.StatusOK, "", post, "/volumes/prune", ""); !strings.Contains(got.body, `["spare"]`) {
			t.Errorf("pruned %s", got.body)
		}
		wantList(t, "networks", w.hosts[2].networks(), "bridge", "host", "none", "used")
		w.hosts[2].network("idle")
	})
}
