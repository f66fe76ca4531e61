package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/node/nodetest"
	"ddocker/relay"
	"ddocker/sched"
	"ddocker/test/vnet"
)

// bindings is a container on a host of the table below.
type bindings struct {
	on      string
	pending bool // not confirmed
	ports   []sched.PortWish
}

var web = wish("", 8080, "tcp")

func wish(ip string, host uint16, proto string) sched.PortWish {
	return sched.PortWish{IP: ip, Host: host, Container: 80, Proto: proto}
}

// relayTable is what containers bind and hosts see, and which of it n1 answers on.
var relayTable = map[string]struct {
	made     []bindings
	observed map[string]ledger.Observe
	at       map[string]string // addresses of hosts, if not 10.0.0.N
	want     string            // of n1
}{
	"nothing": {},
	"a port that the cluster chose": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{{Proto: "tcp"}}}}, want: "25000/tcp n2",
	},
	"ports that the user named, of both kinds": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web, wish("0.0.0.0", 53, "udp")}}}, want: "53/udp n2, 8080/tcp n2",
	},
	"the same number over TCP here and UDP there": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web}}, {on: "n1", ports: []sched.PortWish{wish("", 8080, "udp")}}}, want: "8080/tcp n2",
	},
	"its own port":           {made: []bindings{{on: "n1", ports: []sched.PortWish{web}}}},
	"SCTP":                   {made: []bindings{{on: "n2", ports: []sched.PortWish{wish("", 8080, "sctp")}}}},
	"one that is not made":   {made: []bindings{{on: "n2", pending: true, ports: []sched.PortWish{web}}}},
	"what is for its host":   {made: []bindings{{on: "n2", ports: []sched.PortWish{wish("127.0.0.1", 1, "tcp"), wish("::1", 2, "tcp"), wish("10.0.0.2", 3, "tcp")}}}},
	"IPv6 of a host at IPv4": {made: []bindings{{on: "n2", ports: []sched.PortWish{wish("::", 8080, "tcp")}}}},
	"IPv6 of a host at IPv6, and IPv4 of it": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{wish("::", 8080, "tcp"), wish("0.0.0.0", 81, "tcp")}}},
		at:   map[string]string{"n2": "fd77::2"}, want: "8080/tcp n2",
	},
	"one bound to both": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{wish("0.0.0.0", 8080, "tcp"), wish("::", 8080, "tcp")}}}, want: "8080/tcp n2",
	},
	"a host at this one's address": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web}}}, at: map[string]string{"n2": "10.0.0.1"},
	},
	"one that two hosts have": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web}}, {on: "n3", ports: []sched.PortWish{web}}},
		want: "8080/tcp n2 closed, 8080/tcp n3 closed",
	},
	"one that is about to be made on another host too": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web}}, {on: "n3", pending: true, ports: []sched.PortWish{web}}},
		want: "8080/tcp n2 closed",
	},
	"one that is about to be made here too": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web}}, {on: "n1", pending: true, ports: []sched.PortWish{web}}},
		want: "8080/tcp n2 closed",
	},
	"one that a process has here": {
		made:     []bindings{{on: "n2", ports: []sched.PortWish{web}}},
		observed: map[string]ledger.Observe{"n1": {Ports: []sched.Port{{Number: 8080, Proto: "tcp"}}}},
		want:     "8080/tcp n2 closed",
	},
	"one that a container outside the cluster has here": {
		made: []bindings{{on: "n2", ports: []sched.PortWish{web}}},
		observed: map[string]ledger.Observe{"n1": {Containers: []ledger.Outsider{
			{ID: "o", Name: "o", Grant: sched.Grant{Ports: []sched.Binding{{Host: 8080, Container: 80, Proto: "tcp"}}}},
		}}},
		want: "8080/tcp n2 closed",
	},
	"one that a process has elsewhere": {
		made:     []bindings{{on: "n2", ports: []sched.PortWish{web}}},
		observed: map[string]ledger.Observe{"n3": {Ports: []sched.Port{{Number: 8080, Proto: "tcp"}}}},
		want:     "8080/tcp n2",
	},
}

func TestWhatAHostAnswersOnForOthers(t *testing.T) {
	for name, c := range relayTable {
		t.Run(name, func(t *testing.T) {
			r := nodetest.NewLog().Replica()
			if got := relayedBy(r); got != "" {
				t.Errorf("before it knows itself: %s", got)
			}
			for i, node := range []string{"n1", "n2", "n3"} {
				at := c.at[node]
				if at == "" {
					at = fmt.Sprintf("10.0.0.%d", i+1)
				}
				propose(t, r, ledger.Command{Register: &ledger.Register{Node: node, Name: node, Address: net.JoinHostPort(at, "7722"), Capacity: ledger.Capacity{Cores: sched.CPUs(0)}}})
			}
			for i, m := range c.made {
				id := fmt.Sprint("p", i)
				propose(t, r, ledger.Command{Reserve: &ledger.Reserve{Placement: id, Name: id, Request: sched.Request{Ports: m.ports}, Candidates: []string{m.on}}})
				if !m.pending {
					propose(t, r, ledger.Command{Confirm: &ledger.Confirm{Placement: id, Container: "c" + id}})
				}
			}
			for node, o := range c.observed {
				o.Node = node
				propose(t, r, ledger.Command{Observe: &o})
			}
			if got := relayedBy(r); got != c.want {
				t.Errorf("n1 answers on %q, want %q", got, c.want)
			}
		})
	}
}

func propose(t *testing.T, r *nodetest.Replica, c ledger.Command) {
	t.Helper()
	if result, _, err := r.Propose(t.Context(), c); err != nil || result.Refusal != nil {
		t.Fatal(err, result.Refusal)
	}
}

func relayedBy(r *nodetest.Replica) string {
	var words []string
	r.View(func(l *ledger.Ledger) {
		open, kept := relays(l, "n1")
		for i, to := range slices.Concat(open, kept) {
			text := fmt.Sprintf("%d/%s %s", to.Port.Number, to.Port.Proto, to.Node)
			if i >= len(open) {
				text += " closed"
			}
			words = append(words, text)
		}
	})
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// wired is a machine whose ports are those of its network.
type wired struct {
	*nodetest.Machine
	net *vnet.Host
	try []uint16
}

func (m wired) Listening() ([]sched.Port, error) {
	var taken []sched.Port
	for _, port := range m.try {
		l, err := m.net.Listen(fmt.Sprint(":", port))
		if err != nil {
			taken = append(taken, sched.Port{Number: port, Proto: "tcp"})
			continue
		}
		l.Close()
	}
	return taken, nil
}

// runWired has all agents run, on machines whose ports are those of their network.
func (w *world) runWired(ports ...uint16) {
	for _, h := range w.hosts {
		h.live()
		h.cfg.Machine = wired{h.machine, h.net, ports}
		h.runs()
	}
	time.Sleep(time.Second)
}

// serve has the host's engine publish a port, as it does when a container is started.
func (h *host) serve(port uint16) (stop func()) {
	h.w.Helper()
	l, err := h.net.Listen(fmt.Sprint(":", port))
	if err != nil {
		h.w.Fatalf("start a container on %s: %v", h.id, err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, h.id)
			c.Close()
		}
	}()
	once := func() { l.Close() }
	h.w.Cleanup(once)
	return once
}

// answers says who answers on a port of each host: an ID, or "refused" or "reset".
func (w *world) answers(port uint16) string {
	w.Helper()
	var words []string
	for i := range w.hosts {
		words = append(words, w.answer(w.ip(i), port))
	}
	return strings.Join(words, " ")
}

func (w *world) answer(ip string, port uint16) string {
	w.Helper()
	c, err := w.desk.Dial(w.Context(), fmt.Sprint(ip, ":", port))
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if errors.Is(err, syscall.ECONNRESET) {
		return "reset"
	}
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

func TestEveryHostAnswersOnAPortAsLongAsTheContainerIsThere(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.runWired(25000)
		p, container := w.hosts[0].create("web", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}})
		if port := p.Grant.Ports[0].Host; port != 25000 {
			w.Fatalf("the cluster chose port %d", port)
		}
		time.Sleep(time.Second)
		if got, want := w.answers(25000), "refused reset reset"; got != want {
			w.Errorf("before it is started: %s, want %s", got, want)
		}
		stop := w.hosts[0].serve(25000)
		if got, want := w.answers(25000), "id-n1 id-n1 id-n1"; got != want {
			w.Errorf("when it runs: %s, want %s", got, want)
		}
		time.Sleep(time.Minute) // all agents tell what they see of their hosts
		for _, h := range w.hosts {
			if ports := h.known().Ports; len(ports) > 0 {
				w.Errorf("the cluster knows of processes on %s that have %v", h.id, ports)
			}
		}
		stop()
		if err := w.hosts[0].docker.Remove(w.Context(), container, false, true); err != nil {
			w.Fatal(err)
		}
		w.within(time.Second, "nobody answers", func() bool { return w.answers(25000) == "refused refused refused" })
	})
}

func TestAPortIsYieldedToAContainerAndAProcessOfTheHost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.runWired(8080)
		web := sched.Request{Ports: []sched.PortWish{{Host: 8080, Container: 80, Proto: "tcp"}}}
		w.hosts[0].create("one", web)
		w.hosts[0].serve(8080)
		w.within(time.Second, "all answer", func() bool { return w.answers(8080) == "id-n1 id-n1 id-n1" })

		// n2's relay has the port, which is no reason not to get it there.
		p, container := w.hosts[1].create("two", web)
		stop := w.hosts[1].serve(8080)
		w.within(time.Second, "each has its own", func() bool { return w.answers(8080) == "id-n1 id-n2 refused" })
		if p.Node != w.hosts[1].id {
			w.Errorf("it is on %s", p.Node)
		}

		// Once it is gone, the first is the only one again.
		stop()
		if err := w.hosts[1].docker.Remove(w.Context(), container, false, true); err != nil {
			w.Fatal(err)
		}
		w.within(time.Second, "all answer again", func() bool { return w.answers(8080) == "id-n1 id-n1 id-n1" })

		// A container that is made past the cluster gets the port a moment later.
		w.hosts[2].outside("plain", `{"Image":"busybox:latest","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}}`)
		w.within(3*time.Second, "n3 yields", func() bool { return w.answers(8080) == "id-n1 id-n1 refused" })
	})
}

func TestAPortThatAProcessHasIsTakenWhenItIsFree(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		stop := w.hosts[1].serve(8080)
		w.runWired() // which n2's agent has not noticed
		w.hosts[0].create("web", sched.Request{Ports: []sched.PortWish{{Host: 8080, Container: 80, Proto: "tcp"}}})
		w.hosts[0].serve(8080)
		time.Sleep(time.Minute)
		if got, want := w.answers(8080), "id-n1 id-n2"; got != want {
			w.Errorf("%s, want %s", got, want)
		}
		stop()
		w.within(relayRetry+time.Second, "n2 answers for n1", func() bool { return w.answers(8080) == "id-n1 id-n1" })
	})
}

// What has to do with no port costs a comparison, however many placements there are.
func TestPortsAreLookedAtOnlyWhenTheyChanged(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		n1 := w.hosts[0]
		w.hosts[1].create("web", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}})
		n1.relay()
		before := n1.relayed
		if len(before.open) != 1 {
			w.Fatalf("n1 answers on %v", before.open)
		}
		w.hosts[1].create("mute", sched.Request{})
		n1.relay()
		if n1.relayed.published != before.published {
			w.Error("a container without ports was looked at")
		}
		_, id := w.hosts[1].create("dns", sched.Request{Ports: []sched.PortWish{{Proto: "udp"}}})
		n1.relay()
		if len(n1.relayed.open) != 2 {
			w.Errorf("n1 answers on %v", n1.relayed.open)
		}
		if err := w.hosts[1].Removed(w.Context(), id); err != nil {
			w.Fatal(err)
		}
		n1.relay()
		if len(n1.relayed.open) != 1 {
			w.Errorf("n1 answers on %v", n1.relayed.open)
		}
		synctest.Wait()
	})
}

// A cluster of a thousand hosts with twenty containers each, two ports a container.
func BenchmarkRelaysOfTwentyThousand(b *testing.B) {
	r := nodetest.NewLog().Replica()
	const nodes, each = 1000, 20
	for i := range nodes {
		node := fmt.Sprint("n", i)
		commands := []ledger.Command{{Register: &ledger.Register{Node: node, Name: node, Address: fmt.Sprintf("10.0.%d.%d:7722", i/250, i%250+1), Capacity: ledger.Capacity{Cores: sched.CPUs(0)}}}}
		for j := range each {
			id := fmt.Sprint("p", i, "-", j)
			commands = append(commands,
				ledger.Command{Reserve: &ledger.Reserve{Placement: id, Name: id, Request: sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}, {Proto: "udp"}}}, Candidates: []string{node}}},
				ledger.Command{Confirm: &ledger.Confirm{Placement: id, Container: "c" + id}})
		}
		for _, c := range commands {
			if result, _, err := r.Propose(b.Context(), c); err != nil || result.Refusal != nil {
				b.Fatal(err, result.Refusal)
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		var open []relay.Target
		r.View(func(l *ledger.Ledger) { open, _ = relays(l, "n0") })
		if len(open) != 2*each*(nodes-1) {
			b.Fatal(len(open))
		}
	}
}
