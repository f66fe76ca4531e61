package ledger

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
		if p := &l.lost[i].Placement; p.Container == "" || l.placements[p.ID] == p {
			t.Fatalf("placement %s cannot be lost", p.ID)
		}
	}
}
