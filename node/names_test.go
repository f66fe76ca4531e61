package node

import (
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

// here is the node whose names are planned, there another one.
const here, there = "id-here", "id-there"

// history is a ledger in which these commands were carried out.
func history(t *testing.T, commands ...ledger.Command) *ledger.Ledger {
	t.Helper()
	l := ledger.New()
	register := func(node string) ledger.Command {
		return ledger.Command{Register: &ledger.Register{Node: node, Name: node[len("id-"):]}}
	}
	for i, c := range append([]ledger.Command{register(here), register(there)}, commands...) {
		data, err := ledger.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if r := l.Apply(uint64(i+1), time.Unix(int64(i), 0), data); r.Refusal != nil {
			t.Fatalf("command %d: %v", i, r.Refusal)
		}
	}
	return l
}

// has is what a node lists: images as "a=web:1,web:2".
func has(node string, images ...ledger.Holding) ledger.Command {
	return ledger.Command{Observe: &ledger.Observe{Node: node, Images: images}}
}

func img(id string, names ...string) ledger.Holding { return ledger.Holding{ID: id, Names: names} }

// calls gives an image on the other node a name.
func calls(name, id string) ledger.Command {
	i := ledger.Image{Name: name, ID: id, Node: there, Layers: []ledger.Layer{{Chain: "x", Size: 1}}}
	return ledger.Command{NameImage: &ledger.NameImage{Image: i}}
}

func uncalls(name, id string) ledger.Command {
	return ledger.Command{Unname: &ledger.Unname{Name: name, ID: id, Force: true}}
}

// frees takes a name away, but not from containers.
func frees(name, id string) ledger.Command {
	return ledger.Command{Unname: &ledger.Unname{Name: name, ID: id}}
}

func claims(claim, name, node string) ledger.Command {
	return ledger.Command{Claim: &ledger.Claim{Claim: claim, Name: name, Node: node}}
}

func said(steps []nameStep) []string {
	list := []string{}
	for _, s := range steps {
		text := string(s.verb)
		if s.force {
			text = "force " + text
		}
		if s.name != "" {
			text += " " + s.name
		}
		if s.id != "" {
			text += "=" + s.id
		}
		list = append(list, text)
	}
	return list
}

// plan is one look at names and what is to be done.
type plan struct {
	name                string
	ledger              []ledger.Command
	images              []ledger.Holding // here
	used, making, fresh map[string]bool
	want                []string
}

func judgePlans(t *testing.T, plans []plan) {
	for _, c := range plans {
		t.Run(c.name, func(t *testing.T) {
			l := history(t, c.ledger...)
			steps := planNames(l, localNames{node: here, images: c.images, used: c.used, making: c.making, fresh: c.fresh})
			wantList(t, "steps", said(steps), c.want...)
		})
	}
}

func set(of ...string) map[string]bool {
	m := map[string]bool{}
	for _, one := range of {
		m[one] = true
	}
	return m
}

func TestOwnAndSharedNamesArePlanned(t *testing.T) {
	judgePlans(t, []plan{
		{name: "nothing is nothing to do"},
		{
			name:   "a name that agrees is left alone",
			ledger: []ledger.Command{calls("web:1", "a")}, images: []ledger.Holding{img("a", "web:1")},
		},
		{
			name:   "a host's own name is published, a digest is none",
			images: []ledger.Holding{img("a", "web:1", "web@sha256:"+hex64)},
			want:   []string{"publish web:1=a"},
		},
		{
			name:   "a name for another image is left to its host",
			ledger: []ledger.Command{calls("web:1", "a")}, images: []ledger.Holding{img("b", "web:1")},
		},
		{
			name:   "also where the cluster's image is here, too",
			ledger: []ledger.Command{calls("web:1", "a")}, images: []ledger.Holding{img("a", "www:1"), img("b", "web:1")},
			want: []string{"publish www:1=a"},
		},
		{
			name:   "the cluster's names are given to the image here",
			ledger: []ledger.Command{calls("web:1", "a"), calls("web:2", "a"), calls("db:1", "b")},
			images: []ledger.Holding{img("a", "web:1")},
			want:   []string{"tag web:2=a"},
		},
	})
}

func TestRemovalsArePlanned(t *testing.T) {
	judgePlans(t, []plan{
		{
			name:   "a name that was taken away goes here, and is not published again",
			ledger: []ledger.Command{calls("web:1", "a"), calls("web:2", "a"), has(here, img("a", "web:1", "web:2")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a", "web:1", "web:2")},
			want:   []string{"untag web:1=a"},
		},
		{
			name:   "with the last name the image goes, digests or not",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a", "web:1", "web@sha256:"+hex64)},
			want:   []string{"untag web:1=a", "drop=a"},
		},
		{
			name:   "an image that is also known by another digest stays",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a", "web:1", "other@sha256:"+hex64)},
			want:   []string{"untag web:1=a"},
		},
		{
			name:   "an image that lost its name here before goes, too",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a")},
			want:   []string{"drop=a"},
		},
		{
			name:   "unless a container is made from it",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a")}, used: set("a"),
		},
		{
			name:   "a name taken away is not taken from another image",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("b", "web:1")},
			want:   []string{"publish web:1=b"},
		},
		{
			name: "a name that was given to another image meanwhile moves there, and what lost it goes",
			ledger: []ledger.Command{
				calls("web:1", "a"), has(here, img("a", "web:1"), img("b", "x:1")), uncalls("web:1", "a"), calls("x:1", "b"), calls("web:1", "b"),
			},
			images: []ledger.Holding{img("a", "web:1"), img("b", "x:1")},
			want:   []string{"tag web:1=b", "drop=a"},
		},
	})
}

func TestRemovalsFromImagesInUseArePlanned(t *testing.T) {
	judgePlans(t, []plan{
		{
			name:   "the last name of an image in use was taken by force, and goes by force",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a", "web:1")}, used: set("a"),
			want: []string{"force untag web:1=a"},
		},
		{
			name:   "the last name of an image in use that the ledger did not know of is kept",
			ledger: []ledger.Command{calls("web:1", "a"), has(here, img("a", "web:1")), frees("web:1", "a")},
			images: []ledger.Holding{img("a", "web:1")}, used: set("a"),
			want: []string{"keep web:1=a"},
		},
		{
			name: "unless another of its names went by force",
			ledger: []ledger.Command{
				calls("web:1", "a"), calls("web:2", "a"), has(here, img("a", "web:1", "web:2")), frees("web:1", "a"), uncalls("web:2", "a"),
			},
			images: []ledger.Holding{img("a", "web:1", "web:2")}, used: set("a"),
			want: []string{"force untag web:1=a", "force untag web:2=a"},
		},
		{
			name: "where another image has the name, it stays here until the container has gone",
			ledger: []ledger.Command{
				calls("web:1", "a"), has(here, img("a", "web:1")), frees("web:1", "a"), calls("web:1", "b"),
			},
			images: []ledger.Holding{img("a", "web:1")}, used: set("a"),
		},
		{
			name:   "the cluster's other name comes before the last one goes",
			ledger: []ledger.Command{calls("web:1", "a"), calls("web:2", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a")},
			images: []ledger.Holding{img("a", "web:1")}, used: set("a"),
			want: []string{"tag web:2=a", "untag web:1=a"},
		},
		{
			name: "where it cannot come, the last name of an image in use stays",
			ledger: []ledger.Command{
				calls("web:1", "a"), calls("web:2", "a"), has(here, img("a", "web:1"), img("b", "web:2")), uncalls("web:1", "a"),
			},
			images: []ledger.Holding{img("a", "web:1"), img("b", "web:2")}, used: set("a"),
		},
	})
}

func TestClaimsArePlanned(t *testing.T) {
	judgePlans(t, []plan{
		{
			name:   "a claim whose image is here is fulfilled",
			ledger: []ledger.Command{claims("c", "web:1", here)}, images: []ledger.Holding{img("a", "web:1")},
			want: []string{"fulfil web:1=a"},
		},
		{
			name:   "not while a call makes it",
			ledger: []ledger.Command{claims("c", "web:1", here)}, images: []ledger.Holding{img("a", "web:1")}, making: set("c"),
		},
		{
			name:   "another host's claim is its own",
			ledger: []ledger.Command{claims("c", "web:1", there)}, images: []ledger.Holding{img("a", "web:1")},
		},
		{
			name:   "a claim without an image waits for its grace",
			ledger: []ledger.Command{claims("c", "web:1", here)}, fresh: set("c"),
		},
		{
			name:   "and is given up then",
			ledger: []ledger.Command{claims("c", "web:1", here)},
			want:   []string{"give up web:1"},
		},
		{
			name: "a name that is to be taken away fulfils no claim",
			ledger: []ledger.Command{
				calls("web:1", "a"), has(here, img("a", "web:1")), uncalls("web:1", "a"), claims("c", "web:1", here),
			},
			images: []ledger.Holding{img("a", "web:1")}, fresh: set("c"),
			want: []string{"untag web:1=a", "drop=a"},
		},
	})
}

func TestRepositoryOfAName(t *testing.T) {
	for name, want := range map[string]string{
		"web:1": "web", "reg:5000/a/b:1": "reg:5000/a/b", "reg:5000/a": "reg:5000/a", "web@sha256:" + hex64: "web", "reg:5000/a@sha256:" + hex64: "reg:5000/a",
	} {
		if got := repository(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
