package gossip

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Member is a node as gossip knows it.
type Member struct {
	ID      string
	Name    string // empty while the member's program is too new to be understood
	Addr    string // ip:port of its one port; of a dead member, the last known
	Version string // of its program
	Alive   bool   // false once it failed or left; a suspect still counts as alive
}

// maxMembers is how many members are remembered. Beyond it those that died
// first are forgotten.
const maxMembers = 4096

// Members returns all members in the order of their IDs, this node and the dead
// included.
func (g *Gossip) Members() []Member { return g.roster.all() }

// Member returns the member with this ID, and whether there ever was one.
func (g *Gossip) Member(id string) (Member, bool) { return g.roster.get(id) }

// Changed returns a channel that is closed at the next change of a member. Take
// it before reading Members, and a new one after it was closed; any number of
// goroutines may.
func (g *Gossip) Changed() <-chan struct{} { return g.roster.nextChange() }

// Forget forgets a member that is dead, unless it comes back: nobody looks for it any more.
func (g *Gossip) Forget(id string) { g.roster.drop(id) }

// report logs members that come and go.
func (g *Gossip) report(ctx context.Context) {
	known := map[string]Member{}
	for {
		changed := g.Changed()
		for _, m := range g.Members() {
			if was, ok := known[m.ID]; (ok || m.Alive) && was != m {
				g.log.Info("member changed", "id", m.ID, "name", m.Name, "addr", m.Addr, "alive", m.Alive)
			}
			known[m.ID] = m
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// roster holds the members.
type roster struct {
	mu      sync.Mutex
	members map[string]standing
	living  int
	changed chan struct{} // closed and replaced at each change
}

// standing is a member and since when it is dead, zero while it is alive.
type standing struct {
	Member
	died time.Time
}

func newRoster(self Member) *roster {
	r := &roster{members: map[string]standing{}, changed: make(chan struct{})}
	r.put(self)
	return r
}

func (r *roster) put(m Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.members[m.ID]
	if known && old.Member == m {
		return
	}
	if !known && len(r.members) >= maxMembers {
		r.forget()
	}
	s := standing{Member: m}
	if !m.Alive {
		s.died = time.Now()
	}
	r.members[m.ID] = s
	r.living += count(m.Alive) - count(old.Alive)
	close(r.changed)
	r.changed = make(chan struct{})
}

// forget removes the member that died first, if any did. The caller holds mu.
func (r *roster) forget() {
	var first standing
	for _, s := range r.members {
		if !s.Alive && (first.ID == "" || s.died.Before(first.died)) {
			first = s
		}
	}
	delete(r.members, first.ID)
}

// drop removes a dead member.
func (r *roster) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, known := r.members[id]; !known || s.Alive {
		return
	}
	delete(r.members, id)
	close(r.changed)
	r.changed = make(chan struct{})
}

func count(alive bool) int {
	if alive {
		return 1
	}
	return 0
}

func (r *roster) get(id string) (Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.members[id]
	return s.Member, ok
}

func (r *roster) all() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Member, 0, len(r.members))
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		all = append(all, r.members[id].Member)
	}
	return all
}

func (r *roster) alive() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.living
}

func (r *roster) nextChange() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// metaVersion begins a member's metadata. What follows is the member's name and
// version, each with its length in a byte; later versions may append.
const metaVersion = 1

var errMeta = errors.New("decode member: unknown version or cut off")

func encodeMeta(m Member) []byte {
	b := append([]byte{metaVersion, byte(len(m.Name))}, m.Name...)
	return append(append(b, byte(len(m.Version))), m.Version...)
}

func decodeMeta(b []byte) (name, version string, err error) {
	if len(b) == 0 || b[0] != metaVersion {
		return "", "", errMeta
	}
	name, b, ok := cutText(b[1:])
	version, _, ok2 := cutText(b)
	if !ok || !ok2 {
		return "", "", errMeta
	}
	return strings.ToValidUTF8(name, "?"), strings.ToValidUTF8(version, "?"), nil
}

// cutText splits a length byte and so many bytes of text off b.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}
