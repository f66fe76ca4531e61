package ledger

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// consistentImages fails where what the ledger keeps of images by ID is not what
// its records say, or where a name stands for an image that nobody has.
func consistentImages(t fataler, l *Ledger) {
	t.Helper()
	named, holders := map[string][]string{}, map[string]map[string]bool{}
	for _, n := range l.nodes {
		if !slices.IsSortedFunc(n.Observed.Images, func(a, b Holding) int { return cmp.Compare(a.ID, b.ID) }) {
			t.Fatalf("%s has %v, in no order", n.Name, n.Observed.Images)
		}
		for _, h := range n.Observed.Images {
			if holders[h.ID] == nil {
				holders[h.ID] = map[string]bool{}
			}
			if holders[h.ID][n.Node] || !slices.IsSorted(h.Names) {
				t.Fatalf("%s has %v, twice or with names in no order", n.Name, h)
			}
			holders[h.ID][n.Node] = true
		}
	}
	for _, i := range l.Images() {
		if (i.ID == "") == (i.Claim == "") || i.Index == 0 || i.Index > l.index || !exactName(i.Name) {
			t.Fatalf("image %+v is neither made nor being made, or has no place in the log", i)
		}
		if i.ID != "" {
			named[i.ID] = append(named[i.ID], i.Name)
		}
		if i.ID != "" && len(holders[i.ID]) == 0 {
			t.Fatalf("image %s has a name, but nobody has it", i.Name)
		}
	}
	if !reflect.DeepEqual(named, l.named) || !reflect.DeepEqual(holders, l.holders) {
		t.Fatalf("%v and %v are kept, %v and %v would be right", l.named, l.holders, named, holders)
	}
	consistentRemovals(t, l)
}

func consistentRemovals(t fataler, l *Ledger) {
	t.Helper()
	if len(l.removals) > maxRemovals || l.claims() > maxClaims {
		t.Fatalf("%d removals, %d claims", len(l.removals), l.claims())
	}
	seen := map[string]bool{}
	for _, r := range l.removals {
		key := r.Name + " " + r.ID
		if r.Name == "" || seen[key] || len(r.Nodes) == 0 || !slices.IsSorted(r.Nodes) {
			t.Fatalf("removal %v is there twice, or on no node", r)
		}
		seen[key] = true
		if i := l.images[r.Name]; i != nil && i.ID == r.ID {
			t.Fatalf("removal %v is of a name that stands", r)
		}
	}
}

// imageRecords is what a ledger says of images before an entry.
type imageRecords struct {
	names    map[string]*Image
	told     map[string][]Holding // of which the ledger was told, by node
	evicted  map[string][]Holding // by node
	removals []Removal
}

func imagesOf(l *Ledger) imageRecords {
	r := imageRecords{maps.Clone(l.images), map[string][]Holding{}, map[string][]Holding{}, l.removals}
	for id, n := range l.nodes {
		r.evicted[id] = n.evicted
		for _, h := range n.Observed.Images {
			if h.Index > 0 {
				r.told[id] = append(r.told[id], h)
			}
		}
	}
	return r
}

// keptBy fails where the entry, which was carried out, ended what it may not.
func (r imageRecords) keptBy(t fataler, l *Ledger, entry []byte) {
	t.Helper()
	var c Command
	if json.Unmarshal(entry, &c) != nil {
		c = Command{}
	}
	// lists says whether the entry is the node's list, begun after the index.
	lists := func(node string, index uint64) bool {
		return c.Observe != nil && c.Observe.Node == node && min(c.Observe.Seen, l.index) >= index
	}
	for name, i := range r.names {
		nameKept(t, l, i, l.images[name], &c)
	}
	for _, removal := range r.removals {
		i := l.images[removal.Name]
		again := i != nil && i.ID == removal.ID
		for _, node := range removal.Nodes {
			if !pending(l, removal, node) && !lists(node, removal.Index) && !again && l.nodes[node] != nil {
				t.Fatalf("the removal %v is forgotten on %s, which has not shown that it did it", removal, node)
			}
		}
	}
	r.copiesKept(t, l, &c, lists)
}

// copiesKept holds that a copy that the ledger was told of stays, and that one
// that may be removed does not count, until the node has listed its images.
func (r imageRecords) copiesKept(t fataler, l *Ledger, c *Command, lists func(string, uint64) bool) {
	t.Helper()
	for id, n := range l.nodes {
		evicts := len(n.evicted) > len(r.evicted[id])
		if evicts && len(l.holders[c.Evict.ID]) < l.settings.ImageReplicas {
			t.Fatalf("after %+v only %v are left", c.Evict, l.holders[c.Evict.ID])
		}
		for _, h := range r.told[id] {
			if !n.HasImage(h.ID) && !lists(id, h.Index) && !(evicts && c.Evict.ID == h.ID) {
				t.Fatalf("%s has %s no more, though the ledger was told of it", id, h.ID)
			}
		}
		for _, h := range r.evicted[id] {
			told := c.NameImage != nil && c.NameImage.Image.Node == id && c.NameImage.Image.ID == h.ID
			if !lists(id, h.Index) && !told && !holds(n.evicted, h.ID) {
				t.Fatalf("it is forgotten that %s may remove %s", id, h.ID)
			}
			if n.HasImage(h.ID) && !lists(id, h.Index) && !told {
				t.Fatalf("%s counts again as one that has %s", id, h.ID)
			}
		}
	}
}

// nameKept holds that a name that was made stands for one image until it is taken
// away or the last copy goes.
func nameKept(t fataler, l *Ledger, before, now *Image, c *Command) {
	t.Helper()
	unnamed := c.Unname != nil && c.Unname.Name == before.Name && c.Unname.ID == before.ID
	lost := (c.Observe != nil || c.Remove != nil) && len(l.holders[before.ID]) == 0
	switch {
	case before.ID == "": // a claim: it comes and goes
	case now == nil && !unnamed && !lost:
		t.Fatalf("the name %s has ended", before.Name)
	case now != nil && (now.ID != before.ID || now.Index != before.Index):
		t.Fatalf("the name %s stood for %s and stands for %s", before.Name, before.ID, now.ID)
	case now != nil && (now.Owner != before.Owner || !now.Created.Equal(before.Created)):
		t.Fatalf("image %s was %+v and is %+v", before.Name, before, now)
	}
}

func pending(l *Ledger, removal Removal, node string) bool {
	return slices.ContainsFunc(l.removals, func(r Removal) bool {
		return r.Name == removal.Name && r.ID == removal.ID && r.Index == removal.Index && r.has(node)
	})
}
