package node

import (
	"slices"
	"strings"

	"ddocker/consensus/ledger"
)

// nameStep is one thing to do so that the names of this engine's images and those
// of the cluster agree.
type nameStep struct {
	verb     nameVerb
	name, id string
	claim    *ledger.Image // of fulfil and giveUp
	force    bool          // untag: also the last name of an image that containers use
}

type nameVerb string

// What a nameStep does. All of it may be repeated, and left undone by a crash: the
// next look plans it again.
const (
	publish  nameVerb = "publish" // give the cluster this engine's own name
	fulfil   nameVerb = "fulfil"  // name the image that a claim was made for
	giveUp   nameVerb = "give up" // a claim whose image never came
	tag      nameVerb = "tag"     // here, as the cluster does
	keepName nameVerb = "keep"    // name the image in the cluster again: a container here uses it
	untag    nameVerb = "untag"   // here, what the cluster took away; the last name takes the image along
	drop     nameVerb = "drop"    // the image that lost its last name otherwise
)

// localNames is what planNames goes by beside the ledger.
type localNames struct {
	node   string
	images []ledger.Holding // of this engine, by ID
	used   map[string]bool  // IDs of images that containers here are made from
	making map[string]bool  // claims that are not to be touched: a call makes them, or may yet
	fresh  map[string]bool  // claims that may be fulfilled, but not given up yet
}

// planNames compares this engine's names with the cluster's and returns what to
// do, in order. A name that stands for another image here than in the cluster
// stays as it is. Tags come before untags: an image never loses its last name
// while the cluster has another one for it.
func planNames(l *ledger.Ledger, n localNames) []nameStep {
	here := tagged(n.images)
	p := namePlan{localNames: n, ledger: l, here: here, removed: map[[2]string]bool{}}
	for _, r := range l.Removals(n.node) {
		p.removed[[2]string{r.Name, r.ID}] = true
	}
	p.publish()
	p.claims()
	p.tags()
	p.untags()
	return p.steps
}

// namePlan is a plan that is being made.
type namePlan struct {
	localNames
	ledger  *ledger.Ledger
	here    map[string]string  // IDs by this engine's names
	removed map[[2]string]bool // name and ID that are to be taken apart here
	steps   []nameStep
}

func (p *namePlan) add(s nameStep) { p.steps = append(p.steps, s) }

// publish finds names that the cluster does not know.
func (p *namePlan) publish() {
	for _, h := range p.images {
		for _, name := range h.Names {
			if isName(name) && !p.removed[[2]string{name, h.ID}] && p.ledger.Image(name) == nil {
				p.add(nameStep{verb: publish, name: name, id: h.ID})
			}
		}
	}
}

// claims settles those of which no call is left that would.
func (p *namePlan) claims() {
	for _, c := range p.ledger.Claims(p.node) {
		id := p.here[c.Name]
		switch {
		case p.making[c.Claim]:
		case id != "" && !p.removed[[2]string{c.Name, id}]:
			p.add(nameStep{verb: fulfil, name: c.Name, id: id, claim: c})
		case !p.fresh[c.Claim]:
			p.add(nameStep{verb: giveUp, name: c.Name, claim: c})
		}
	}
}

// tags finds names of the cluster's that images here lack.
func (p *namePlan) tags() {
	for _, h := range p.images {
		for _, name := range p.ledger.ImageNames(h.ID) {
			if own := p.here[name]; own == "" || own != h.ID && p.removed[[2]string{name, own}] {
				p.add(nameStep{verb: tag, name: name, id: h.ID})
			}
		}
	}
}

// untags finds names that are to be taken away, and images that have none left.
func (p *namePlan) untags() {
	removals := p.ledger.Removals(p.node)
	done := map[string]bool{}
	for _, r := range removals {
		h := ledger.FindHolding(p.images, r.ID)
		if h == nil || done[r.ID] {
			continue
		}
		done[r.ID] = true
		forced := slices.ContainsFunc(removals, func(other ledger.Removal) bool { return other.ID == r.ID && other.Force })
		p.untag(h, forced)
	}
}

// untag takes away what is to be taken from one image. Forced says that it was taken
// from the containers that are made from it, too.
func (p *namePlan) untag(h *ledger.Holding, forced bool) {
	names, last := p.going(h)
	inUse, nameless := last && p.used[h.ID], len(p.ledger.ImageNames(h.ID)) == 0
	for _, name := range names {
		switch {
		case !inUse || nameless && forced:
			p.add(nameStep{verb: untag, name: name, id: h.ID, force: inUse})
		case nameless && p.ledger.Image(name) == nil:
			// The ledger did not know of the container.
			p.add(nameStep{verb: keepName, name: name, id: h.ID})
		}
		// Else it stays until the container has gone: the cluster has other names for
		// the image, or another image for the name.
	}
	if last && nameless && !p.used[h.ID] {
		p.add(nameStep{verb: drop, id: h.ID})
	}
}

// going returns the names that are to be taken from the image here, and whether
// none is left then.
func (p *namePlan) going(h *ledger.Holding) (names []string, last bool) {
	repos := map[string]bool{}
	for _, name := range h.Names {
		if p.removed[[2]string{name, h.ID}] {
			repos[repository(name)] = true
			if !p.taken(name, h.ID) {
				names = append(names, name)
			}
		}
	}
	// The engine takes the digests of a repository along with its last tag.
	last = !slices.ContainsFunc(h.Names, func(name string) bool {
		return !p.removed[[2]string{name, h.ID}] && (isName(name) || !repos[repository(name)])
	})
	last = last && !slices.ContainsFunc(p.steps, func(s nameStep) bool { return s.verb == tag && s.id == h.ID })
	return names, last
}

// taken says whether a tag takes the name to another image, so that there is
// nothing to untag.
func (p *namePlan) taken(name, from string) bool {
	return slices.ContainsFunc(p.steps, func(s nameStep) bool { return s.verb == tag && s.name == name && s.id != from })
}

// repository is a name without its tag or digest.
func repository(name string) string {
	name, _, digested := strings.Cut(name, "@")
	if at := strings.LastIndexByte(name, ':'); !digested && at > strings.LastIndexByte(name, '/') {
		return name[:at]
	}
	return name
}
