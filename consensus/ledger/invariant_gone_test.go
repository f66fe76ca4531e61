package ledger

import "slices"

// consistentGone fails where anything still refers to a node that was removed.
func consistentGone(t fataler, l *Ledger) {
	t.Helper()
	for _, g := range l.gone {
		if l.nodes[g.ID] != nil {
			t.Fatalf("node %s was removed, and is there", g.ID)
		}
	}
	known := func(what, node string) {
		if l.nodes[node] == nil {
			t.Fatalf("%s is on node %s, which is not in the cluster", what, node)
		}
	}
	for _, o := range l.objects {
		known("the home of "+o.Name, o.Home)
		for _, i := range o.On {
			known("an instance of "+o.Name, i.Node)
		}
	}
	for _, f := range l.leftovers {
		known("a leftover of "+f.Name, f.Node)
	}
	for id, on := range l.holders {
		for node := range on {
			known("a copy of "+id, node)
		}
	}
	for _, r := range l.removals {
		for _, node := range r.Nodes {
			known("a removal of "+r.Name, node)
		}
	}
	for uuid, nodes := range l.cards {
		for _, node := range nodes {
			known("card "+uuid, node)
		}
	}
	if got, want := len(l.hosts), len(l.nodes); got != want {
		t.Fatalf("%d hosts are summed up, of %d nodes", got, want)
	}
	for i := range l.lost {
		if p := &l.lost[i].Placement; p.Container == "" && (l.level < 6 || len(p.Was) > 0) || l.placements[p.ID] == p {
			t.Fatalf("placement %s cannot be lost", p.ID)
		}
	}
}

// tolds are the placements of which somebody may have been told that a container is made,
// and whose only trace is on their node.
func tolds(l *Ledger) map[string]*Placement {
	told := map[string]*Placement{}
	for id, p := range l.placements {
		if p.Container != "" || l.level >= nothingUnseen && len(p.Was) == 0 {
			told[id] = p
		}
	}
	return told
}

// notDropped fails where the node's removal left no trace of one of these.
func notDropped(t fataler, l *Ledger, told map[string]*Placement, c *Remove) {
	t.Helper()
	for id, p := range told {
		if p.Node == c.Node && l.nodes[p.Node] == nil && !slices.ContainsFunc(l.lost, func(p Lost) bool { return p.Placement.ID == id }) {
			t.Fatalf("placement %s went with its node, and is not lost", id)
		}
	}
}

// leftBehind fails where a container that moves does not hold what it did where it is.
func leftBehind(t fataler, l *Ledger, before map[string]*Placement, c *Move) {
	t.Helper()
	if l.level < nothingUnseen {
		return
	}
	held := heldOf(l)
	for _, id := range c.Placements {
		p := before[id]
		for _, thing := range append(things(p.Node, &p.Grant), "name "+p.Name) {
			if held[thing] == "" {
				t.Fatalf("%s moves, and nobody holds %s", id, thing)
			}
		}
	}
}
