package ledger

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// consistentObjects fails where the users of networks and volumes are counted wrong, or
// where a volume that containers use on one host has its home on another.
func consistentObjects(t fataler, l *Ledger) {
	t.Helper()
	want := uses{}
	for _, p := range l.placements {
		want.add(p, 1)
	}
	if !reflect.DeepEqual(want, l.uses) {
		t.Fatalf("uses: %v are kept, %v would be right", l.uses, want)
	}
	for key, o := range l.objects {
		if key != o.key() {
			t.Fatalf("%v stands at %v", o.key(), key)
		}
		for node := range l.uses[key] {
			if o.Kind == Volume && node != o.Home {
				t.Fatalf("volume %s is at home on %s, and used on %s", o.Name, o.Home, node)
			}
		}
	}
}

func objectState(b *strings.Builder, l *Ledger) {
	for _, o := range l.allObjects() {
		fmt.Fprintf(b, "%s %s (%s) at home on %s, %d users so far", o.Kind, o.Name, o.ID, l.nodeName(o.Home), o.Users)
		for _, i := range o.On {
			fmt.Fprintf(b, ", %s on %s", i.ID, l.nodeName(i.Node))
		}
		if l.anchor(o) != "" {
			b.WriteString(", held there")
		}
		b.WriteString("\n")
	}
	for _, f := range l.leftovers {
		fmt.Fprintf(b, "leftover %s %s: %s on %s\n", f.Kind, f.Name, f.ID, l.nodeName(f.Node))
	}
}

func drawNames(t *rapid.T, prefix string) (names []string) {
	for i := range 2 {
		if rapid.IntRange(0, 3).Draw(t, prefix) == 0 {
			names = append(names, fmt.Sprint(prefix, i+1))
		}
	}
	return slices.Compact(names)
}

func drawObjectCommand(t *rapid.T) Command {
	kind := rapid.SampledFrom([]Kind{Network, Volume, "plugin"}).Draw(t, "kind")
	name := pool(t, "object", map[Kind]string{Network: "net", Volume: "vol", "plugin": "plug"}[kind], 2)
	node, id := pool(t, "node", "n", 4), pool(t, "engine ID", "e", 3)
	switch rapid.IntRange(0, 5).Draw(t, "object verb") {
	case 0:
		return Command{Define: &Define{Kind: kind, Name: name, Home: node}}
	case 1:
		return Command{Made: &Made{Kind: kind, Name: name, Node: node, ID: id, Found: rapid.Bool().Draw(t, "found")}}
	case 2:
		return Command{Unmade: &Unmade{kind, name, node, id}}
	case 3:
		return Command{Undefine: &Undefine{Kind: kind, Name: name, ID: id}}
	case 4:
		return Command{Attach: &Attach{pool(t, "placement", "p", 9), pool(t, "network", "net", 3), rapid.Bool().Draw(t, "detach")}}
	}
	m := &Move{Candidates: rapid.Permutation([]string{"n1", "n2", "n3"}).Draw(t, "candidates")}
	for range rapid.IntRange(0, 3).Draw(t, "group") {
		m.Placements = append(m.Placements, pool(t, "placement", "p", 9))
	}
	return Command{Move: m}
}
