package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// shortLived has certificates last for so short that a virtual quarter of an hour is a
// week of renewals.
func shortLived(c *agentConfig) { c.life = 2 * time.Minute }

// foundShortLived founds the cluster of all machines so.
func (w *world) foundShortLived() {
	w.t.Helper()
	w.hosts[0].start(shortLived)
	token := w.hosts[0].token()
	for _, h := range w.hosts[1:] {
		h.start(joining(w.hosts[0], token), shortLived)
	}
	w.whole()
	w.keyed()
}

// keyed waits until all voters, and they alone, have the CA's key.
func (w *world) keyed() {
	w.t.Helper()
	w.eventually("all voters have the CA's key, and the ledger those of the nodes", func() bool {
		keys := 0
		w.hosts[0].inside().log.View(func(l *ledger.Ledger) {
			for _, n := range l.Nodes() {
				if n.Key != "" {
					keys++
				}
			}
		})
		return keys == len(w.hosts) && !slices.ContainsFunc(w.hosts, func(h *host) bool { return (h.inside().authority() != nil) != h.votes() })
	})
}

func (h *host) votes() bool { return h.inside().isVoter(h.inside().id.NodeID()) }

// one returns a machine that votes, or one that does not; the founder, if it is meant.
func (w *world) one(votes, founder bool) *host {
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.votes() == votes && (h == w.hosts[0]) == founder })
	if i < 0 {
		w.t.Fatal("there is no such machine")
	}
	return w.hosts[i]
}

// certified says until when the machine's certificate is good.
func (h *host) certified() time.Time { return h.inside().id.NotAfter() }

// rotate replaces a secret of the cluster and returns when that is done.
func (w *world) rotate(kind ledger.Secret) {
	w.t.Helper()
	ended := func() (n int) {
		w.up()[0].inside().log.View(func(l *ledger.Ledger) {
			for _, r := range l.Rotations(kind) {
				if r.Stage == ledger.Done {
					n = int(r.Index)
				}
			}
		})
		return n
	}
	before := ended()
	w.eventually("a rotation begins", func() bool { return w.up()[0].inside().rotate(w.soon(), kind, "alice") == nil })
	w.eventually("the rotation ends", func() bool { return ended() > before })
}

// creates makes a container and removes it.
func (h *host) creates(name string) error {
	id, err := h.create(h.of.soon(), wanted{name: name, cpus: 0.01})
	if err != nil {
		return err
	}
	return h.docker().ContainerRemove(h.of.soon(), id, container.RemoveOptions{Force: true})
}

// asks has every machine list all containers, and one create one, every two seconds until
// it is stopped, which returns how many were asked and what failed.
func (w *world) asks() (stop func() (asked int, failed []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	type sum struct {
		asked  int
		failed []string
	}
	done := make(chan sum)
	hosts := slices.Clone(w.up())
	go func() {
		var s sum
		defer func() { done <- s }()
		for i := 0; sleep(ctx, 2*time.Second); i++ {
			for j, h := range hosts {
				s.asked++
				_, err := h.docker().ContainerList(w.soon(), container.ListOptions{All: true})
				if err == nil && i%len(hosts) == j {
					err = h.creates(fmt.Sprintf("load-%d", i))
				}
				if err != nil {
					s.failed = append(s.failed, fmt.Sprintf("request %d on %s: %v", i, h.name, err))
				}
			}
		}
	}()
	return func() (int, []string) {
		cancel()
		s := <-done
		return s.asked, s.failed
	}
}

func TestCertificatesAreRenewedInTimeForEver(t *testing.T) {
	inWorld(t, 4, func(t *testing.T, w *world) { // three vote, one asks them
		w.foundShortLived()
		stop := w.asks()
		first := w.hosts[3].certified()
		for range 20 {
			time.Sleep(10 * time.Second)
			for _, h := range w.hosts {
				if left := time.Until(h.certified()); left < 10*time.Second {
					t.Fatalf("%s's certificate is good for %v only", h.name, left)
				}
			}
		}
		if asked, failed := stop(); len(failed) > 0 {
			t.Errorf("of %d requests %d failed: %v", asked, len(failed), failed[0])
		}
		if w.hosts[3].certified().Sub(first) < 2*time.Minute {
			t.Error("a certificate was not renewed")
		}
	})
}

func TestAMachineWhoseCertificateExpiredComesBackByItself(t *testing.T) {
	t.Parallel()
	for who, is := range map[string]struct{ voter, founder bool }{"a voter": {true, false}, "the founder": {true, true}, "one that does not vote": {false, false}} {
		t.Run(who, func(t *testing.T) {
			inWorld(t, 4, func(t *testing.T, w *world) {
				w.foundShortLived()
				away := w.one(is.voter, is.founder)
				away.stop()
				time.Sleep(3 * time.Minute)
				away.start(shortLived)
				w.eventually("it is back", func() bool { return away.inside() != nil && away.settled(4) })
				w.eventually("it has caught up", func() bool { return away.creates("first") == nil })
				made := map[string]string{"back": away.mustRun(wanted{name: "back"})}
				w.judge(made)
			})
		})
	}
}

func TestAWholeLabThatWasOffForAWeekComesBackByItself(t *testing.T) {
	inWorld(t, 5, func(t *testing.T, w *world) {
		w.found()
		w.keyed()
		for _, h := range w.hosts {
			h.stop()
		}
		time.Sleep(7 * 24 * time.Hour)
		for _, h := range w.hosts {
			h.start()
		}
		w.whole()
		for _, h := range w.hosts {
			if left := time.Until(h.certified()); left < 11*time.Hour {
				t.Errorf("%s's certificate is good for %v", h.name, left)
			}
		}
		w.judge(map[string]string{"back": w.hosts[4].mustRun(wanted{name: "back"})})
	})
}

func TestEveryKeyIsReplacedWithoutAFailedRequest(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		token := w.hosts[0].token()
		founders := identity.Fingerprint(w.hosts[0].inside().id.Trust().Roots)
		stop := w.asks()
		for range 2 {
			w.rotate(ledger.AuthorityKey)
			w.rotate(ledger.GossipKey)
		}
		if asked, failed := stop(); len(failed) > 0 || asked < 20 {
			t.Errorf("of %d requests %d failed: %v", asked, len(failed), failed)
		}
		w.whole()
		w.keyed()
		salts := w.hosts[0].inside().secrets.get().Salts
		for _, h := range w.hosts {
			a := h.inside()
			if roots := a.id.Trust().Roots; identity.Fingerprint(roots) == founders || strings.Count(string(roots), "BEGIN") != 1 || !a.id.Fresh() {
				t.Errorf("%s trusts or shows an authority of before", h.name)
			}
			if now := a.secrets.get().Salts; !slices.Equal(now, salts) || len(now) != 1 || now[0] == "" {
				t.Errorf("%s has gossip keys %v", h.name, now)
			}
			keys, _ := os.ReadDir(h.data)
			for _, f := range keys {
				if strings.HasPrefix(f.Name(), "ca-key-") {
					t.Errorf("%s still has %s", h.name, f.Name())
				}
			}
		}
		// A token of before leads to the cluster, and its bearer learns the keys of now.
		late := w.add()
		late.start(joining(w.hosts[4], token))
		w.whole()
	})
}

func TestAMachineThatMissedARotationComesBackByItself(t *testing.T) {
	t.Parallel()
	for who, voter := range map[string]bool{"a voter": true, "one that does not vote": false} {
		t.Run(who, func(t *testing.T) {
			inCluster(t, 4, func(t *testing.T, w *world) {
				w.keyed()
				away := w.one(voter, false)
				id := w.idOf(away)
				away.stop()
				w.eventually("it is known to be away", func() bool { return !w.hosts[0].inside().alive(id) })
				for range 2 {
					w.rotate(ledger.GossipKey)
					w.rotate(ledger.AuthorityKey)
				}
				away.start()
				w.eventually("it is back", func() bool { return away.inside() != nil && away.settled(4) })
			})
		})
	}
}

// A rotation goes on where it was, whoever leads.
func TestARotationSurvivesTheDeathOfTheLeader(t *testing.T) {
	t.Parallel()
	for _, kind := range []ledger.Secret{ledger.AuthorityKey, ledger.GossipKey} {
		t.Run(string(kind), func(t *testing.T) {
			inCluster(t, 4, func(t *testing.T, w *world) {
				w.keyed()
				leader := w.leader()
				if err := leader.inside().rotate(w.soon(), kind, "alice"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Millisecond)
				leader.kill()
				left := w.up()[0]
				w.eventually("the rotation ends without the old leader", func() bool {
					open := true
					left.inside().log.View(func(l *ledger.Ledger) { open = l.Rotating(kind) != nil })
					return !open
				})
				leader.start()
				w.whole()
			})
		})
	}
}

func (w *world) idOf(h *host) (id string) {
	w.up()[0].inside().log.View(func(l *ledger.Ledger) { id = l.NodeNamed(h.name).Node })
	return id
}

func (w *world) propose(c ledger.Command) {
	w.t.Helper()
	result, _, err := w.up()[0].inside().log.Propose(w.soon(), c)
	if err != nil || result.Refusal != nil {
		w.t.Fatalf("propose: %v, %v", err, result.Refusal)
	}
}

func TestARemovedNodeIsRefusedAtOnceAndTheGossipKeyItKnowsIsReplaced(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, w *world) {
		out := w.hosts[3]
		a, id := out.inside(), w.idOf(out)
		held, err := dialTLS(w.soon(), out.life, w.hosts[0].ip+":7722", a.id.Client(identity.ProtoRPC, ""))
		if err != nil {
			t.Fatal(err)
		}
		w.propose(ledger.Command{Remove: &ledger.Remove{Node: id, By: "alice", Force: true}})
		time.Sleep(100 * time.Millisecond)
		held.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := held.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("what the removed node has open stays open")
		}
		toRemoved := func(h *host) (open []*outwardConn) {
			outward := &h.inside().outward
			outward.mu.Lock()
			defer outward.mu.Unlock()
			for c := range outward.open {
				if c.node == id {
					open = append(open, c)
				}
			}
			return open
		}
		before := map[*host][]*outwardConn{}
		for _, h := range w.hosts[:3] {
			before[h] = toRemoved(h)
		}
		time.Sleep(time.Second) // some may have been dialled just now, and are refused
		for _, h := range w.hosts[:3] {
			if slices.ContainsFunc(toRemoved(h), func(c *outwardConn) bool { return slices.Contains(before[h], c) }) {
				t.Errorf("%s still has a connection to the removed node", h.name)
			}
			_, err := dialTLS(w.soon(), h.life, h.ip+":7722", a.id.Client(identity.ProtoRPC, ""))
			if err == nil {
				err = a.askAt(w.soon(), h.ip+":7722", identity.ProtoRPC, "", "/rpc/boot", struct{}{}, &bootReply{})
			}
			if err == nil {
				t.Errorf("%s speaks with the removed node", h.name)
			}
		}
		w.eventually("the key is replaced", func() bool {
			var open, spilled bool
			w.hosts[0].inside().log.View(func(l *ledger.Ledger) { open, spilled = l.Rotating(ledger.GossipKey) != nil, l.Spilled() })
			return !open && !spilled && w.hosts[0].inside().secrets.get().Salts[0] != ""
		})
		if said := out.refused(); !strings.Contains(said, "n4 was removed from the cluster by alice at ") {
			t.Errorf("the removed node ends with %q", said)
		}
		w.hosts = w.hosts[:3]
		for _, h := range w.hosts {
			if err := h.creates("after"); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWhoReturnsIsToldInWordsWhyNot(t *testing.T) {
	t.Parallel()
	for why, c := range map[string]struct {
		want string
		do   func(w *world, h *host)
	}{
		"removed meanwhile": {`^host n2 was removed from the cluster by alice at .*, and run here: ddocker agent --join 10\.0\.0\.[13]:7722 --token TOKEN$`,
			func(w *world, h *host) {
				id := w.idOf(h)
				h.stop()
				w.propose(ledger.Command{Remove: &ledger.Remove{Node: id, By: "alice", Force: true}})
				h.start()
			}},
		"under another's name": {`^a node named n3 is already in the cluster, at 10.0.0.3:7722: start this one with another --name, or as n2, its name until now$`,
			func(w *world, h *host) {
				h.stop()
				h.start(func(c *agentConfig) { c.Name = "n3" })
			}},
		"a copy of a node that runs": {`^node n2 runs at 10.0.0.2:7722, and the data directory here is a copy of its: .*$`,
			func(w *world, h *host) {
				copied := w.t.TempDir()
				if err := os.CopyFS(copied, os.DirFS(h.data)); err != nil {
					w.t.Fatal(err)
				}
				twin := w.add()
				w.hosts = w.hosts[:len(w.hosts)-1]
				w.hosts = append(w.hosts, h)
				w.hosts[1] = twin
				twin.start(func(c *agentConfig) { c.DataDir, c.Name = copied, "n2" })
			}},
	} {
		t.Run(why, func(t *testing.T) {
			inCluster(t, 3, func(t *testing.T, w *world) {
				c.do(w, w.hosts[1])
				if said := w.hosts[1].refused(); !regexp.MustCompile(c.want).MatchString(said) {
					t.Errorf("it says %q, want %q", said, c.want)
				}
			})
		})
	}
}

func TestARenamedAndMovedNodeIsTheSameWithACertificateOfItsNames(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		h := w.hosts[2]
		id := w.idOf(h)
		h.stop()
		h.name, h.ip = "renamed", "10.0.0.77"
		h.start()
		w.eventually("the cluster knows it by its new name", func() bool {
			known := ""
			w.hosts[0].inside().log.View(func(l *ledger.Ledger) {
				if n := l.NodeNamed("renamed"); n != nil {
					known = n.Node + " at " + n.Address
				}
			})
			return known == id+" at 10.0.0.77:7722"
		})
		w.eventually("its certificate has its new names", func() bool {
			return h.inside() != nil && h.inside().id.Names("renamed") && h.inside().id.Names("10.0.0.77")
		})
		w.whole()
	})
}

// What a node may ask for in another's name is nothing.
func TestANodeGetsNoCertificateForAnother(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, w *world) {
		w.keyed()
		evil, victim := w.one(false, false).inside(), w.one(true, false)
		csr, err := evil.id.CSR()
		if err != nil {
			t.Fatal(err)
		}
		_, err = askVoters[joinReply](w.soon(), evil, "/rpc/renew", certificateRequest{Node: w.idOf(victim), CSR: csr, Name: victim.name, Address: victim.ip + ":7722"})
		if err == nil || !strings.Contains(err.Error(), "the key is not the one of node") {
			t.Errorf("a certificate for another node: %v", err)
		}
		_, err = askVoters[caKey](w.soon(), evil, "/rpc/ca-key", caKeyRequest{})
		if err == nil || !strings.Contains(err.Error(), "for voters") {
			t.Errorf("the CA's key for a node without a vote: %v", err)
		}
		h := hello{Node: w.idOf(victim), Name: victim.name, Address: evil.cfg.Advertise, Boot: "x"}
		err = evil.askPublicly(w.soon(), w.hosts[0].ip+":7722", pathHello, h, &welcome{})
		if no := (*unwelcome)(nil); !errors.As(err, &no) {
			t.Errorf("a hello in another's name: %v", err)
		}
		reply, err := askVoters[joinReply](w.soon(), evil, "/rpc/renew", certificateRequest{CSR: csr, Name: evil.cfg.Name, Address: victim.ip + ":7722"})
		if err != nil {
			t.Fatal(err)
		}
		if err := evil.id.Renew(reply.Cert); err != nil || evil.id.Names(victim.ip) {
			t.Errorf("a certificate with another node's address: %v", err)
		}
	})
}

func TestATokenIsUsedUp(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.hosts[0].start()
		var made struct{ Token string }
		w.eventually("there is a token", func() bool { return w.hosts[0].post("/ddocker/tokens?uses=1", &made) == nil })
		w.hosts[1].start(joining(w.hosts[0], made.Token))
		w.eventually("the first has joined", func() bool { return w.hosts[1].inside() != nil })
		w.hosts[2].start(joining(w.hosts[0], made.Token))
		if said := w.hosts[2].refused(); !strings.Contains(said, "has been used as often as it may") {
			t.Errorf("the second bearer is told %q", said)
		}
	})
}

// Days of renewals, rotations, joins and removals leave nothing behind.
func TestNothingGrowsOverManyLivesOfCertificates(t *testing.T) {
	inWorldAlone(t, 3, func(t *testing.T, w *world) {
		w.foundShortLived()
		size := func() (goroutines int, heap uint64) {
			time.Sleep(time.Minute)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return goroutinesHere(), m.HeapAlloc
		}
		round := func() {
			w.rotate(ledger.GossipKey)
			w.rotate(ledger.AuthorityKey)
			guest := w.add()
			guest.start(joining(w.hosts[0], w.hosts[0].token()), shortLived)
			w.whole()
			w.propose(ledger.Command{Remove: &ledger.Remove{Node: w.idOf(guest), By: "alice", Force: true}})
			guest.refused()
			w.hosts = w.hosts[:3]
			w.whole()
			time.Sleep(time.Minute)
		}
		round()
		goroutines, heap := size()
		for range 2 {
			round()
		}
		nowGoroutines, nowHeap := size()
		if nowGoroutines > goroutines+10 || nowHeap > heap+heap/2+8<<20 {
			t.Errorf("%d goroutines became %d, %d bytes %d", goroutines, nowGoroutines, heap, nowHeap)
		}
	})
}

// goroutinesHere counts those of the caller's bubble: other tests have theirs.
func goroutinesHere() int {
	stacks := make([]byte, 16<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	_, bubble, _ := bytes.Cut(stacks, []byte("synctest bubble "))
	number, _, _ := bytes.Cut(bubble, []byte("]"))
	return bytes.Count(stacks, fmt.Appendf(nil, "synctest bubble %s]", number))
}

// What one other node says of the CA counts only with the word of those that are trusted.
func TestOneNodesWordMakesNobodyAnAuthority(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, w *world) {
		a := w.hosts[1].inside()
		before := a.id.Trust()
		forged, err := identity.NewAuthority(a.id.Cluster())
		if err != nil {
			t.Fatal(err)
		}
		later := a.secrets.get()
		later.CA.Index += 1000
		if err := a.adopt(&welcome{Trust: identity.Trust{Roots: forged.CertPEM()}, Held: later, Now: time.Now()}); err != nil {
			t.Error(err)
		}
		if !a.id.Trust().Equal(before) || a.secrets.get().CA.Index != later.CA.Index-1000 {
			t.Error("it believes an authority that nobody vouches for")
		}
	})
}
