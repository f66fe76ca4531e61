package ledger

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ddocker/sched"
)

// fataler is a test of either kind.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// holdings is the dumb twin of what the ledger sums up: who holds each thing,
// by its name in full.
type holdings map[string]string

// heldOf sums up a ledger from its placements and observations alone.
func heldOf(l *Ledger) holdings {
	held := holdings{}
	for _, p := range l.placements {
		for _, thing := range append(things(p.Node, &p.Grant), parts(&p.Grant)...) {
			held[thing] = p.ID
		}
		held["name "+p.Name] = p.ID
	}
	for _, n := range l.nodes {
		for _, o := range n.Observed.Containers {
			for _, thing := range append(things(n.Node, &o.Grant), parts(&o.Grant)...) {
				held[thing] = o.ID
			}
			held["name "+o.Name] = o.ID
		}
		for _, p := range n.Observed.Ports {
			held[fmt.Sprint(n.Node, " port ", p)] = "a process"
		}
	}
	return held
}

// things names everything of a node that only one container can hold. A card is in one
// machine at a time, whatever several say.
func things(node string, g *sched.Grant) []string {
	var list []string
	for _, c := range g.Cores.List() {
		list = append(list, fmt.Sprint(node, " core ", c))
	}
	for _, uuid := range g.GPUs {
		list = append(list, "GPU "+uuid)
	}
	for _, b := range g.Ports {
		list = append(list, fmt.Sprint(node, " port ", b.Port()))
	}
	return list
}

// wholeOf is the GPU that a card is cut from: in histories "s1.0" is a MIG device of
// "s1". It is empty for a whole one.
func wholeOf(uuid string) string {
	whole, _, part := strings.Cut(uuid, ".")
	if !part {
		return ""
	}
	return whole
}

// parts names the GPUs of which the grant has MIG devices.
func parts(g *sched.Grant) (list []string) {
	for _, uuid := range g.GPUs {
		if whole := wholeOf(uuid); whole != "" {
			list = append(list, "parts of GPU "+whole)
		}
	}
	return list
}

// free fails where the new placement has what somebody held, or a port of the
// cluster's choice that somebody held on any node.
func (held holdings) free(t fataler, p *Placement) {
	t.Helper()
	for _, thing := range append(things(p.Node, &p.Grant), "name "+p.Name) {
		if by, ok := held[thing]; ok && by != p.Replaces {
			t.Fatalf("%s got %s, which %s holds", p.ID, thing, by)
		}
	}
	for _, uuid := range p.Grant.GPUs {
		for _, thing := range []string{"GPU " + wholeOf(uuid), "parts of GPU " + uuid} {
			if by, ok := held[thing]; ok && by != p.Replaces {
				t.Fatalf("%s got GPU %s, and %s holds %s", p.ID, uuid, by, thing)
			}
		}
	}
	for i, wish := range p.Request.Ports {
		for _, node := range []string{"n1", "n2", "n3"} {
			b := p.Grant.Ports[i]
			if by, ok := held[fmt.Sprint(node, " port ", b.Port())]; ok && wish.Host == 0 {
				t.Fatalf("%s was given port %v, which %s holds on %s", p.ID, b.Port(), by, node)
			}
		}
	}
}

// consistent fails where two placements hold one thing, or where what the
// ledger keeps summed up is not the sum of its records.
func consistent(t fataler, l *Ledger) {
	t.Helper()
	consistentGone(t, l)
	holder, names := map[string]string{}, map[string]string{}
	for _, p := range l.placements {
		for _, thing := range append(things(p.Node, &p.Grant), "name "+p.Name) {
			if other, ok := holder[thing]; ok && other != p.Replaces && l.placements[other].Replaces != p.ID {
				t.Fatalf("%s and %s both hold %s", other, p.ID, thing)
			}
			holder[thing] = p.ID
		}
		for _, whole := range p.Grant.Of {
			if slices.Contains(p.Grant.GPUs, whole) {
				t.Fatalf("%s holds GPU %s and a part of it", p.ID, whole)
			}
		}
		names[p.Name] = p.ID
		if l.nodes[p.Node].held[p.ID] != p {
			t.Fatalf("placement %s is not on its node", p.ID)
		}
	}
	if !maps.Equal(names, l.names) {
		t.Fatalf("names: %v are kept, %v would be right", l.names, names)
	}
	summed(t, l)
	consistentObjects(t, l)
	consistentImages(t, l)
	if len(l.memos.order) != len(l.memos.byID) || len(l.memos.order) > maxMemos || len(l.expired) > maxExpired {
		t.Fatalf("%d and %d memos, %d expired", len(l.memos.order), len(l.memos.byID), len(l.expired))
	}
}

// summed compares the sums of every host with sums made anew.
func summed(t fataler, l *Ledger) {
	t.Helper()
	ports := map[sched.Port]int32{}
	var hosts []*sched.Host
	for _, n := range l.Nodes() {
		hosts = append(hosts, n.host)
		var want sched.Held
		for _, p := range n.held {
			want.Add(&p.Grant)
		}
		for _, o := range n.Observed.Containers {
			want.AddOutside(&o.Grant)
		}
		for _, p := range n.Observed.Ports {
			want.AddPort(p)
		}
		if got := describe(n, &n.host.Held); got != describe(n, &want) {
			t.Fatalf("%s: %s is kept, %s would be right", n.Name, got, describe(n, &want))
		}
		for p := range want.Ports() {
			ports[p]++
		}
	}
	staked(t, l)
	if !slices.Equal(hosts, l.hosts) {
		t.Fatalf("the list of hosts is not that of the nodes, by name")
	}
	for proto, counts := range l.ports {
		for number := uint16(25000); counts != nil && number < 25040; number++ {
			p := sched.Port{Number: number, Proto: proto}
			if counts[number] != ports[p] {
				t.Fatalf("port %v is held on %d hosts, %d are counted", p, ports[p], counts[number])
			}
		}
	}
}

// staked compares the cards of every host with what they would be if everything were
// asked of all nodes anew.
func staked(t fataler, l *Ledger) {
	t.Helper()
	for _, n := range l.Nodes() {
		if len(n.host.Cards) != len(n.Capacity.Cards) {
			t.Fatalf("%s has %d cards, and registered %d", n.Name, len(n.host.Cards), len(n.Capacity.Cards))
		}
		for i, c := range n.host.Cards {
			told := n.Capacity.Cards[i]
			closed := slices.ContainsFunc(n.Observed.Cards, func(s ClosedCard) bool { return s.UUID == c.UUID })
			for _, other := range l.nodes {
				if other != n && (slices.Contains(stakesOf(other), c.UUID) || c.Of != "" && slices.Contains(stakesOf(other), c.Of)) {
					closed = true
				}
			}
			closed = closed || cut(n, i)
			if closed != (c.Closed != "") || told.Closed != "" || told.UUID != c.UUID || told.Model != c.Model {
				t.Fatalf("%s: card %+v of the registered %+v is open or closed against what is known", n.Name, c, told)
			}
			if why := l.closed(n, holdersOn(n), i); c.Closed != why {
				t.Fatalf("%s: card %s is closed for %q, and %q would be right", n.Name, c.UUID, c.Closed, why)
			}
		}
	}
}

// cut says whether the card of the node is a part of one that is held there, or a whole
// of which a part is held or registered.
func cut(n *Node, i int) bool {
	c := n.Capacity.Cards[i]
	grants := []sched.Grant{}
	for _, p := range n.held {
		grants = append(grants, p.Grant)
	}
	for _, o := range n.Observed.Containers {
		grants = append(grants, o.Grant)
	}
	for j, d := range n.Capacity.Cards {
		if d.Of == c.UUID && c.UUID != "" || d.UUID == c.UUID && j != i {
			return true
		}
	}
	return slices.ContainsFunc(grants, func(g sched.Grant) bool {
		return slices.Contains(g.Of, c.UUID) || c.Of != "" && slices.Contains(g.GPUs, c.Of)
	})
}

// describe says everything that is summed up as held on a node.
func describe(n *Node, h *sched.Held) string {
	var gpus, ports []string
	for _, c := range n.Capacity.Cards {
		if h.HasGPU(c.UUID) {
			gpus = append(gpus, c.UUID)
		}
	}
	for p := range h.Ports() {
		ports = append(ports, fmt.Sprint(p.Number, "/", p.Proto))
	}
	slices.Sort(ports)
	var held []string
	say := func(format string, amount any) {
		if v := reflect.ValueOf(amount); v.IsValid() && !v.IsZero() {
			held = append(held, fmt.Sprintf(format, amount))
		}
	}
	say("cores %s", h.Cores.String())
	say("%d thousandths", h.MilliCPU)
	say("%d bytes", h.Memory)
	say("%d containers", h.Containers)
	say("%d sharing", h.Sharers)
	say("GPUs %v", gpus)
	say("ports %v", ports)
	return strings.Join(held, ", ")
}

func FuzzApply(f *testing.F) {
	for _, c := range []Command{
		{}, {Register: &Register{Node: "n1", Name: "gpu1"}}, {Observe: &Observe{Node: "n2", Closed: "drained"}},
		place("p3", "db", sched.Request{MilliCPU: 1000, Ports: []sched.PortWish{{Proto: "udp"}}}),
		{ID: "r1", Release: &Release{Placement: "p1", Expired: true}}, {Rename: &Rename{Placement: "p1", Name: "x"}},
		{Configure: withBuffer(2)}, {AddToken: &Token{Hash: "h", Uses: 1}}, {Revoke: &Revoke{"h"}}, {Drain: &Drain{Node: "n1"}}, {LabelNode: &LabelNode{"n2", map[string]string{"zone": "a"}}}, {UseToken: &UseToken{Hash: "h"}},
		{ID: "r2", Claim: &Claim{Claim: "c1", Name: "x:1", Node: "n1"}}, {Unclaim: &Unclaim{Claim: "c"}},
		{NameImage: &NameImage{Claim: "c", Image: Image{Name: "making:1", ID: "sha256:e1", Node: "n1", Layers: []Layer{{"sha256:l1", 3}}}}},
		{Merge: &Merge{Node: "n2", Images: []Image{{Name: "debian:12", ID: "sha256:d1"}}}},
		{Unname: &Unname{Name: "debian:12", ID: "sha256:d1", Force: true}}, {Evict: &Evict{Node: "n2", ID: "sha256:d1"}},
		{Define: &Define{Kind: Network, Name: "net", Home: "n1"}}, {Made: &Made{Kind: Network, Name: "front", Node: "n2", ID: "e2"}}, {Unmade: &Unmade{Network, "front", "n1", "e1"}},
		{Undefine: &Undefine{Kind: Network, Name: "front", ID: "e1"}}, {Attach: &Attach{Placement: "p1", Network: "front"}}, {Move: &Move{Placements: []string{"p1"}, Candidates: []string{"n2"}}},
		{Register: &Register{Node: "n2", Name: "gpu2", Capacity: Capacity{Cores: sched.CPUs(0, 1), Cards: []sched.Card{{UUID: "card-n1", Near: sched.CPUs(1), Far: []int{0}}}, Topology: sched.Topology{Nodes: []sched.CPUSet{sched.CPUs(0)}, Physical: []sched.CPUSet{sched.CPUs(0, 1)}}}}},
		{Observe: &Observe{Node: "n1", Cards: []ClosedCard{{"card-n1", "busy: used by python"}, {"card-n1", ""}}, Containers: []Outsider{{ID: "o", Name: "o", Grant: sched.Grant{GPUs: []string{"card-n2"}}}}}},
		place("p3", "db", sched.Request{MilliCPU: 2000, GPUs: []sched.GPUWish{{Model: "titan xp", Memory: 1}, {Index: "0:1", Profile: "1g.5gb", UUID: "card-n2"}}}),
		{Remove: &Remove{Node: "n1", Force: true}}, {Forget: &Forget{"p1"}}, {Vote: &Vote{"n2", Never}}, {Raise: &Raise{5}},
		{AddUser: &AddUser{Name: "alice", Role: Member}}, {ChangeUser: &ChangeUser{"alice", Admin}}, {RemoveUser: &RemoveUser{"alice"}}, {AddKey: &AddKey{"alice", UserKey{"k", start().Add(1)}}},
		{Rotate: &Rotate{Kind: GossipKey, ID: "r1", Data: "d"}}, {Advance: &Advance{GossipKey, "r1", Use}},
		{Observe: &Observe{Node: "n2", Seen: 3, Images: []Holding{has("sha256:f1", "debian:12")}}},
	} {
		data, err := Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := full(t)
		l.Apply(l.Index()+1, start(), data)
		l.Apply(l.Index()+1, start(), data)
		consistent(t, l)
		if got, want := saved(t, restored(t, l)), saved(t, l); string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}
