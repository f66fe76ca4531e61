package ledger

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ddocker/sched"
)

// has is an image that a node lists, with its names.
func has(id string, names ...string) Holding { return Holding{ID: id, Names: names} }

// withImages gives n1 and n2 some images, one that is being made, and one name and
// one copy that are to be removed.
func withImages(t testing.TB, l *Ledger) {
	t.Helper()
	once := withBuffer(1)
	once.ImageReplicas = 1
	layers := []Layer{{"sha256:l1", 30}, {"sha256:l2", 10}}
	for _, c := range []Command{
		{Configure: once},
		{Observe: &Observe{Node: "n1", Seen: l.Index(), Store: "overlay2", Images: []Holding{has("sha256:d1", "debian:12", "debian:old")}}},
		{Observe: &Observe{Node: "n2", Seen: l.Index(), Images: []Holding{has("sha256:d1", "debian:12")}}},
		{Merge: &Merge{Node: "n1", Images: []Image{{Name: "debian:12", ID: "sha256:d1", Layers: layers[:1]}, {Name: "debian:old", ID: "sha256:d1"}}}},
		{ID: "r3", Claim: &Claim{Claim: "c", Name: "making:1", Node: "n1", Owner: "alice"}},
		{ID: "r4", NameImage: &NameImage{Image: Image{Name: "web:1", ID: "sha256:e1", Node: "n1", Owner: "bob", Layers: layers}}},
		{Unname: &Unname{Name: "debian:old", ID: "sha256:d1", Force: true}},
		{Evict: &Evict{Node: "n2", ID: "sha256:d1"}},
	} {
		must(t, l, c)
	}
}

func TestAnImageNameIsAsDockerShowsIt(t *testing.T) {
	for ref, want := range map[string]string{
		"web":                             "web:latest",
		"web:1":                           "web:1",
		"docker.io/library/web:1":         "web:1",
		"index.docker.io/me/web":          "me/web:latest",
		"localhost:5000/web":              "localhost:5000/web:latest",
		"sha256":                          "",
		"sha256:abcd":                     "",
		"Web":                             "",
		"":                                "",
		"web:":                            "",
		"<none>:<none>":                   "",
		"web@" + digest("a"):              "",
		"web:1@" + digest("a"):            "",
		strings.Repeat("a", 64):           "",
		"web:" + strings.Repeat("1", 129): "",
	} {
		got, ok := ImageName(ref)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", ref, got, ok, want)
		}
		if again, _ := ImageName(got); ok && again != got {
			t.Errorf("%q became %q, then %q", ref, got, again)
		}
	}
}

// digest is a digest of one digit, repeated.
func digest(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

func TestFindImageFindsTheImageThatAPersonMeans(t *testing.T) {
	l := twoHosts(t)
	a, b, c := "sha256:abcd1"+digest("1")[12:], "sha256:abcd2"+digest("2")[12:], digest("c")
	must(t, l, Command{Observe: &Observe{Node: "n1", Images: []Holding{
		has(a, "web:1", "web:latest", "web@"+digest("e"), "new:1"), has(c),
	}}})
	must(t, l, Command{Observe: &Observe{Node: "n2", Images: []Holding{has(b, "web:1", "web@"+digest("f"), "two:1", "new:1"), has(c, "only:1")}}})
	must(t, l, Command{Merge: &Merge{Node: "n1", Images: []Image{{Name: "web:1", ID: a}, {Name: "web:latest", ID: a}}}})
	must(t, l, Command{Claim: &Claim{Claim: "c1", Name: "two:1", Node: "n1"}})
	for ref, want := range map[string]FoundImage{
		"web:1":                          {ID: a, Name: "web:1"},
		"web":                            {ID: a, Name: "web:latest"},
		"docker.io/library/web":          {ID: a, Name: "web:latest"},
		"web:1@gpu1":                     {ID: a, Name: "web:1", Node: "n1"},
		"web:1@gpu2":                     {ID: b, Name: "web:1", Node: "n2"},
		"web:1@n2":                       {ID: b, Name: "web:1", Node: "n2"},
		"two:1@gpu2":                     {ID: b, Name: "two:1", Node: "n2"},
		"only:1":                         {ID: c}, // not the cluster's yet
		"web@" + digest("e"):             {ID: a},
		"web@" + digest("f"):             {ID: b},
		"web:9@" + digest("f"):           {ID: b}, // the digest is what counts
		"docker.io/web@" + digest("f"):   {ID: b},
		a:                                {ID: a},
		strings.TrimPrefix(b, "sha256:"): {ID: b},
		"abcd1":                          {ID: a},
		"sha256:abcd2":                   {ID: b},
		"cccc":                           {ID: c},
	} {
		if got, refused := l.FindImage(ref); refused != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", ref, got, refused, want)
		}
	}
	for ref, want := range map[string]string{
		"":                   "No such image: ",
		"web:2":              "No such image: web:2",
		"web@" + digest("0"): "No such image: web@" + digest("0"),
		"two:1":              "No such image: two:1 (it is being made on host gpu1)",
		"new:1":              "image new:1 is ambiguous: it may be abcd11111111 on host gpu1, or abcd22222222 on host gpu2: choose one by its ID",
		"abcd":               "image abcd is ambiguous: it may be abcd11111111 on host gpu1, or abcd22222222 on host gpu2: choose one by its ID",
		"ccc":                "No such image: ccc:latest",
		"sha256:":            "No such image: sha256:",
		"sha256:ccc":         "No such image: sha256:ccc",
		"web:1@gpu9":         "No such node: gpu9",
		"web:2@gpu1":         "No such image on host gpu1: web:2",
		"@gpu1":              "No such image on host gpu1: ",
		"web@":               "No such node: ",
	} {
		if got, refused := l.FindImage(ref); refused == nil || refused.Message != want {
			t.Errorf("%q: got %+v, %v; want %q", ref, got, refused, want)
		}
	}
}

func TestTheViewsOfANodeTellWhatItHasToDo(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Observe: &Observe{Node: "n1", Images: []Holding{has("sha256:a", "web:1", "web:2", "old:1")}}})
	must(t, l, Command{Observe: &Observe{Node: "n2", Images: []Holding{has("sha256:b", "web:1", "web:2", "two:1", "own:1"), has("sha256:c", "own:2")}}})
	must(t, l, Command{Merge: &Merge{Node: "n1", Images: []Image{{Name: "web:1", ID: "sha256:a"}, {Name: "web:2", ID: "sha256:a"}, {Name: "old:1", ID: "sha256:a"}}}})
	must(t, l, Command{Claim: &Claim{Claim: "c2", Name: "two:1", Node: "n1"}})
	must(t, l, Command{Claim: &Claim{Claim: "c1", Name: "one:1", Node: "n1"}})
	must(t, l, Command{Merge: &Merge{Node: "n2", Images: []Image{{Name: "own:2", ID: "sha256:c"}}}})
	must(t, l, Command{Unname: &Unname{Name: "own:2", ID: "sha256:c"}}) // n2 is to take it away,
	must(t, l, Command{NameImage: &NameImage{Image: Image{Name: "own:2", ID: "sha256:a"}}})
	must(t, l, Command{Unname: &Unname{Name: "old:1", ID: "sha256:a"}})
	if got, want := l.Namesakes("n2"), map[string]string{"web:1": "sha256:b", "web:2": "sha256:b"}; !maps.Equal(got, want) {
		t.Errorf("namesakes: got %v, want %v", got, want)
	}
	var claimed []string
	for _, i := range l.Claims("n1") {
		claimed = append(claimed, i.Name)
	}
	if !slices.Equal(claimed, []string{"one:1", "two:1"}) || len(l.Claims("n2")) != 0 {
		t.Errorf("claims: got %v and %v", claimed, l.Claims("n2"))
	}
	want := []Removal{{Name: "old:1", ID: "sha256:a", Index: l.Index(), Nodes: []string{"n1"}}}
	if got := l.Removals("n1"); !reflect.DeepEqual(got, want) || len(l.Removals("n2")) != 1 {
		t.Errorf("removals: got %v and %v, want %v", got, l.Removals("n2"), want)
	}
	if got := l.ImageNames("sha256:a"); !slices.Equal(got, []string{"own:2", "web:1", "web:2"}) {
		t.Errorf("names: got %v", got)
	}
}

func TestTheOldestEvictionsOfANodeAreForgotten(t *testing.T) {
	l := twoHosts(t)
	var list []Holding
	for i := range maxEvicted + 2 {
		list = append(list, has(fmt.Sprint("sha256:", i)))
	}
	once := withBuffer(0)
	once.ImageReplicas = 1
	must(t, l, Command{Configure: once})
	for _, node := range l.NodeIDs() {
		must(t, l, Command{Observe: &Observe{Node: node, Seen: l.Index(), Images: list}})
	}
	for _, h := range list {
		must(t, l, Command{Evict: &Evict{Node: "n1", ID: h.ID}})
	}
	if got := l.Node("n1").evicted; len(got) != maxEvicted || got[maxEvicted-1].ID != list[maxEvicted+1].ID {
		t.Errorf("%d are remembered", len(got))
	}
}

func TestAnImagesUserIsTheFirstContainerByHostAndName(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Observe: &Observe{Node: "n2", Images: []Holding{has("sha256:a", "web:1")},
		Containers: []Outsider{{ID: "x1", Name: "a", ImageID: "sha256:a"}, {ID: "x2", Name: "b", ImageID: "sha256:b"}}}})
	for i, name := range []string{"d", "c", "e"} {
		c := place(fmt.Sprint("p", i), name, sched.Request{Host: "gpu2"})
		c.Reserve.Image, c.Reserve.ImageID = "web:1", "sha256:a"
		must(t, l, c)
	}
	for range 20 { // in whatever order a map is walked
		if got := l.ImageUser("sha256:a"); got != "c on host gpu2" {
			t.Fatalf("got %q", got)
		}
	}
	if got := l.ImageUser("sha256:b"); got != "b on host gpu2" {
		t.Errorf("got %q", got)
	}
	if got := l.ImageUser("sha256:c"); got != "" {
		t.Errorf("got %q", got)
	}
}

// Comparing with every image that a node has is the dumb twin of Missing.
func TestMissingAgreesWithALookAtEveryImage(tb *testing.T) {
	rapid.Check(tb, func(t *rapid.T) {
		l := twoHosts(tb)
		layers := map[string][]Layer{}
		for i := range rapid.IntRange(1, 5).Draw(t, "images") {
			var stack []Layer
			chain := ""
			for range rapid.IntRange(0, 4).Draw(t, "layers") {
				chain += pool(t, "layer", "l", 2)
				stack = append(stack, Layer{Chain: chain, Size: int64(len(chain))})
			}
			layers[fmt.Sprint("sha256:", i)] = stack
		}
		for _, node := range l.NodeIDs() {
			for id, stack := range layers {
				if rapid.Bool().Draw(t, node+" has "+id) {
					must(tb, l, Command{NameImage: &NameImage{Image: Image{Name: "n:" + id[7:], ID: id, Node: node, Layers: stack}}})
				}
			}
		}
		for id, stack := range layers {
			missing := l.Missing(id)
			for _, node := range l.NodeIDs() {
				if got, want := missing(node), lacks(l, layers, node, stack); len(l.ImageHolders(id)) > 0 && got != want {
					t.Fatalf("%s lacks %d bytes of %s, told was %d", node, want, id, got)
				}
			}
		}
	})
}

func lacks(l *Ledger, layers map[string][]Layer, node string, stack []Layer) int64 {
	chains := map[string]bool{}
	for _, h := range l.Node(node).Observed.Images {
		for _, x := range layers[h.ID] {
			chains[x.Chain] = true
		}
	}
	var bytes int64
	for _, x := range stack {
		if !chains[x.Chain] {
			bytes += x.Size
		}
	}
	return bytes
}

func TestWhatIsUnknownOfLayersIsNotMissed(t *testing.T) {
	l := full(t)
	for _, c := range []struct {
		id, node string
		want     int64
	}{{"sha256:e1", "n1", 0}, {"sha256:e1", "n2", 40}, {"sha256:e1", "n9", 40}, {"sha256:unknown", "n1", 0}} {
		if got := l.Missing(c.id)(c.node); got != c.want {
			t.Errorf("%s on %s: got %d, want %d", c.id, c.node, got, c.want)
		}
	}
}

func TestAnImageOfUnknownLayersIsMissedWithAllThatItsHolderCounts(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Observe: &Observe{Node: "n1", Images: []Holding{{ID: "sha256:a", Names: []string{"web:1"}, Size: 70}}}})
	must(t, l, Command{Merge: &Merge{Node: "n1", Images: []Image{{Name: "web:1", ID: "sha256:a"}}}})
	for node, want := range map[string]int64{"n1": 0, "n2": 70} {
		if got := l.Missing("sha256:a")(node); got != want {
			t.Errorf("on %s: got %d, want %d", node, got, want)
		}
	}
}

func TestClaimsAreBounded(t *testing.T) {
	l := twoHosts(t)
	claim := func(i int) Command {
		return Command{Claim: &Claim{Claim: fmt.Sprint("c", i), Name: fmt.Sprint("web:", i), Node: "n1"}}
	}
	for i := range maxClaims {
		must(t, l, claim(i))
	}
	if r := do(t, l, claim(maxClaims)); r.Refusal == nil || r.Refusal.Code != Conflict {
		t.Errorf("got %+v", r)
	}
	must(t, l, claim(3)) // the same again
	must(t, l, Command{Unclaim: &Unclaim{Claim: "c3"}})
	must(t, l, claim(maxClaims))
}

func TestOneMergeNamesSoManyImages(t *testing.T) {
	l := twoHosts(t)
	m := &Merge{Node: "n1"}
	h := has("sha256:a")
	for i := range MaxMerge + 2 {
		name := fmt.Sprintf("web:%04d", i)
		h.Names = append(h.Names, name)
		m.Images = append(m.Images, Image{Name: name, ID: "sha256:a"})
	}
	must(t, l, Command{Observe: &Observe{Node: "n1", Images: []Holding{h}}})
	must(t, l, Command{Merge: m})
	if got := len(l.Images()); got != MaxMerge {
		t.Errorf("got %d names", got)
	}
	must(t, l, Command{Merge: &Merge{Node: "n1", Images: m.Images[MaxMerge:]}})
	if got := len(l.Images()); got != MaxMerge+2 {
		t.Errorf("got %d names", got)
	}
}

func TestTheOldestRemovalsAreForgotten(t *testing.T) {
	removals := func(n, nodes int) (list []Removal) {
		on := make([]string, nodes)
		for i := range n {
			list = append(list, Removal{Name: fmt.Sprint(i), Nodes: on})
		}
		return list
	}
	for name, c := range map[string]struct {
		list []Removal
		want int
	}{
		"none":           {nil, 0},
		"all fit":        {removals(maxRemovals, 1), maxRemovals},
		"too many":       {removals(maxRemovals+5, 1), maxRemovals},
		"too many nodes": {removals(10, maxPending/4), 4},
	} {
		got := boundRemovals(c.list)
		if len(got) != c.want || c.want > 0 && got[c.want-1].Name != c.list[len(c.list)-1].Name {
			t.Errorf("%s: %d are left", name, len(got))
		}
	}
}

func TestWhatANodeListsIsSortedAndOnce(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Observe: &Observe{Node: "n1", Seen: l.Index(), Images: []Holding{
		{ID: "sha256:b", Names: []string{"z:1", "a:1", "z:1"}, Index: 1}, has(""), has("sha256:a"), {ID: "sha256:b", Size: 9},
	}}})
	want := []Holding{{ID: "sha256:a"}, {ID: "sha256:b", Names: []string{"a:1", "z:1"}}}
	if got := l.Node("n1").Observed.Images; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !l.Node("n1").HasImage("sha256:a") || l.Node("n1").HasImage("sha256:c") || l.Node("n2").HasImage("sha256:a") {
		t.Error("not what is there is found")
	}
	if got := l.ImageHolders("sha256:a"); !slices.Equal(got, []string{"n1"}) {
		t.Errorf("got %v", got)
	}
}

func TestANodeCannotHaveSeenMoreThanThereIs(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Observe: &Observe{Node: "n1", Seen: 1 << 60, Images: []Holding{has("sha256:a")}}})
	must(t, l, Command{Observe: &Observe{Node: "n1", Seen: l.Index()}})
	if l.Node("n1").HasImage("sha256:a") {
		t.Error("what it lists now is not heard any more")
	}
}

func TestCommandsAndSnapshotsOfVersionOneAreRead(t *testing.T) {
	l := New()
	const old = `{"v":1,"index":7,"settings":{"Types":null,"Buffer":{"Cores":1,"Memory":0},"StartPort":30000,"Options":null},"nodes":1,"placements":1,"memos":1}
{"register":{"node":"n1","name":"gpu1","address":"gpu1:2377","version":"","engine":"","capacity":{"cores":"0-3","memory":8}},"observed":{"node":"n1","images":["debian:12","sha256:d1"]}}
{"id":"p1","node":"n1","name":"web","image":"debian:12","request":{},"grant":{},"created":"2026-11-23T12:00:00Z"}
{"id":"r1","placement":"p1"}
`
	if err := l.Restore(strings.NewReader(old)); err != nil {
		t.Fatal(err)
	}
	if s := l.Settings(); s.ImageReplicas != 2 || s.ImageDisk != 85 || s.StartPort != 30000 {
		t.Errorf("settings are %+v", s)
	}
	for _, entry := range []string{
		`{"v":1,"observe":{"node":"n1","images":["debian:12","sha256:d1"],"ports":[{"Number":22,"Proto":"tcp"}]}}`,
		`{"v":1,"id":"r2","reserve":{"placement":"p2","name":"db","image":"debian:12","request":{},"candidates":["n1"]}}`,
		`{"v":1,"configure":{"Types":null,"Buffer":{"Cores":0,"Memory":0},"StartPort":25000,"Options":null}}`,
	} {
		if r := l.Apply(l.Index()+1, start(), []byte(entry)); r.Refusal != nil {
			t.Errorf("%s: %v", entry, r.Refusal)
		}
	}
	if s := l.Settings(); s.ImageReplicas != 2 || s.ImageDisk != 85 {
		t.Errorf("settings are %+v", s)
	}
	if l.Node("n1").HasImage("sha256:d1") || !bytes.Equal(saved(t, restored(t, l)), saved(t, l)) {
		t.Error("images of version 1 were taken for holdings")
	}
}
