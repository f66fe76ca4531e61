package gossip

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/test/vnet"
)

// lab is a cluster of gossiping nodes in virtual time. It is used inside one
// synctest bubble.
type lab struct {
	t    *testing.T
	net  *vnet.Net
	key  byte
	name string
}

func newLab(t *testing.T) *lab {
	t.Cleanup(func() { time.Sleep(time.Minute) }) // last of all: probes under way run out
	return &lab{t: t, net: vnet.New(1), key: 1, name: "lab"}
}

// node is one of them.
type node struct {
	*Gossip
	host   *vnet.Host
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended
}

// settled is two full exchanges and a rejoin: until then broadcasts, which may be
// lost, need not have told everyone.
const settled = 70 * time.Second

// addr is the address of the i-th machine.
func addr(i int) string { return fmt.Sprintf("10.0.0.%d", i) }

// start runs node id on the i-th machine, with the first as its seed.
func (l *lab) start(id string, i int) *node {
	l.t.Helper()
	host := l.net.Boot(addr(i))
	packets, err := host.ListenPacket(":2375")
	if err != nil {
		l.t.Fatal(err)
	}
	streams, err := host.Listen(":2375")
	if err != nil {
		l.t.Fatal(err)
	}
	g, err := New(Config{
		ID: id, Name: "host-" + id, Version: "v1",
		Cluster: l.name, Keys: [][]byte{bytes.Repeat([]byte{l.key}, 32)},
		Advertise: netip.MustParseAddrPort(addr(i) + ":2375"),
		Packets:   packets, Streams: streams, Dial: host.Dial,
		Seeds: func() []string { return []string{addr(1) + ":2375"} },
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	n := &node{Gossip: g, host: host, cancel: cancel, ended: make(chan struct{})}
	go func() {
		n.err = g.Run(ctx)
		close(n.ended)
	}()
	l.t.Cleanup(func() { cancel(); <-n.ended })
	return n
}

// startAll runs n nodes, n1 and so on, on as many machines, and waits until
// they all know each other.
func (l *lab) startAll(n int) []*node {
	l.t.Helper()
	var all []*node
	for i := 1; i <= n; i++ {
		all = append(all, l.start(fmt.Sprintf("n%d", i), i))
	}
	l.within(settled, "all are members everywhere", func() bool {
		return everyone(all, func(o *node) bool { return o.living() == n })
	})
	return all
}

// leave stops a node politely, and returns how long that took.
func (l *lab) leave(n *node) time.Duration {
	l.t.Helper()
	start := time.Now()
	n.cancel()
	if <-n.ended; n.err != nil {
		l.t.Errorf("Run ended with %v", n.err)
	}
	l.net.Kill(n.host)
	return time.Since(start)
}

// crash takes a node off the network.
func (l *lab) crash(n *node) {
	l.t.Helper()
	l.net.Kill(n.host)
	if <-n.ended; n.err == nil {
		l.t.Error("Run ended without an error although its network broke")
	}
}

// within waits in virtual time for something to become true.
func (l *lab) within(d time.Duration, what string, holds func() bool) {
	l.t.Helper()
	start := time.Now()
	for ; !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > d {
			l.t.Fatalf("after %v it is not true that %s", d, what)
		}
	}
	l.t.Logf("%s after %v", what, time.Since(start))
}

func (n *node) living() int {
	k := 0
	for _, m := range n.Members() {
		k += count(m.Alive)
	}
	return k
}

// sees reports whether n knows a member to be alive or dead at an address.
func (n *node) sees(id string, alive bool, machine int) bool {
	m, ok := n.Member(id)
	return ok && m.Alive == alive && m.Addr == addr(machine)+":2375"
}

func everyone(all []*node, holds func(*node) bool) bool {
	for _, n := range all {
		if !holds(n) {
			return false
		}
	}
	return true
}

func TestADeadMemberIsSeenByAllAndTakenBackAtAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(8)
		others := all[:7]

		l.crash(all[7])
		l.within(settled, "all see n8 dead at its last address", func() bool {
			return everyone(others, func(n *node) bool { return n.sees("n8", false, 8) })
		})
		time.Sleep(2 * time.Minute) // memberlist has forgotten it by then
		if !everyone(others, func(n *node) bool { return n.sees("n8", false, 8) }) {
			t.Error("a dead member was forgotten")
		}
		n8 := l.start("n8", 18)
		l.within(settled, "all see n8 at its new address", func() bool {
			return everyone(others, func(n *node) bool { return n.sees("n8", true, 18) }) && n8.living() == 8
		})
	})
}

func TestANewAddressIsTakenAlthoughTheOldStillCountsAsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(8)
		others := all[:7]
		l.crash(all[7])
		n8 := l.start("n8", 18)
		l.within(settled, "all see n8 at its new address", func() bool {
			return everyone(others, func(n *node) bool { return n.sees("n8", true, 18) }) && n8.living() == 8
		})
	})
}

func TestARestartAtTheSameAddressIsNoConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(3)
		if took := l.leave(all[2]); took > time.Second {
			t.Errorf("leaving took %v", took)
		}
		l.within(settled, "the others know it left", func() bool {
			return everyone(all[:2], func(n *node) bool { return n.sees("n3", false, 3) })
		})
		all[2] = l.start("n3", 3)
		l.within(settled, "all see it back", func() bool {
			return everyone(all, func(n *node) bool { return n.sees("n3", true, 3) })
		})
	})
}

func TestHalvesOfAPartitionFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(8)
		for a := 1; a <= 4; a++ {
			for b := 5; b <= 8; b++ {
				l.net.Cut(addr(a), addr(b))
				l.net.Cut(addr(b), addr(a))
			}
		}
		l.within(settled, "each half sees the other dead", func() bool {
			return everyone(all, func(n *node) bool { return n.living() == 4 })
		})
		time.Sleep(5 * time.Minute)
		l.net.Heal()
		l.within(settled, "all see all", func() bool {
			return everyone(all, func(n *node) bool { return n.living() == 8 })
		})
	})
}

func TestAMemberThatOnlyHearsIsNotLostForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(5)
		for i := 1; i <= 4; i++ {
			l.net.Cut(addr(5), addr(i))
		}
		time.Sleep(time.Minute)
		l.net.Heal()
		l.within(settled, "all see all", func() bool {
			return everyone(all, func(n *node) bool { return n.living() == 5 })
		})
	})
}

func TestLoadsReachAllAndThoseWhoJoinLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(8)
		want := Load{FreeMilliCPU: 7500, FreeMemoryMiB: 64 << 10, FreeGPUs: 2, CPUPercent: 93,
			MemoryPercent: 41, Containers: 12, AppliedIndex: 1 << 40}
		all[3].SetLoad(want)
		has := func(n *node) bool { got, ok := n.Load("n4"); return ok && got == want }
		l.within(settled, "all know the load of n4", func() bool { return everyone(all, has) })

		all = append(all, l.start("n9", 9))
		l.within(settled, "so does a joiner", func() bool { return has(all[8]) })
		if got := all[8].Loads(); len(got) != 1 || got["n4"] != want {
			t.Errorf("the joiner's loads are %v", got)
		}

		l.crash(all[3])
		l.within(settled, "a dead member has no load", func() bool {
			return everyone([]*node{all[0], all[8]}, func(n *node) bool { _, ok := n.Load("n4"); return !ok })
		})
	})
}

func TestLoadsOfARestartedMemberWinThoughItsClockWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(3)
		all[2].board.epoch += 1 << 40
		all[2].SetLoad(Load{Containers: 1})
		l.within(settled, "the load is known", func() bool { _, ok := all[0].Load("n3"); return ok })
		l.crash(all[2])
		all[2] = l.start("n3", 3)
		all[2].SetLoad(Load{Containers: 2})
		l.within(settled, "the new load won", func() bool {
			got, _ := all[0].Load("n3")
			return got.Containers == 2
		})
	})
}

func TestStrangersNeverMerge(t *testing.T) {
	for _, c := range []struct {
		name    string
		key     byte
		cluster string
	}{
		{"another key", 2, "lab"},
		{"another cluster", 1, "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				all := l.startAll(2)
				l.key, l.name = c.key, c.cluster
				stranger := l.start("s", 3)
				stranger.SetLoad(Load{Containers: 1})
				time.Sleep(3 * time.Minute)
				if n := len(stranger.Members()); n != 1 {
					t.Errorf("the stranger knows %d members", n)
				}
				if n := len(all[0].Members()); n != 2 {
					t.Errorf("the cluster knows %d members", n)
				}
			})
		})
	}
}

func TestAChangeOfMembersIsSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.start("n1", 1)
		changed, same := a.Changed(), a.Changed()
		select {
		case <-changed:
			t.Fatal("signalled without a change")
		case <-time.After(time.Minute):
		}
		l.start("n2", 2)
		<-changed
		<-same
		if m, ok := a.Member("n2"); !ok || m.Name != "host-n2" || m.Version != "v1" {
			t.Errorf("n2 is known as %+v", m)
		}
	})
}
