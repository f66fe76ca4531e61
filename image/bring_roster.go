package image

import (
	"errors"
	"slices"
)

const (
	// banned is how many strikes it takes not to be asked again. A node that sent
	// a whole layer wrongly gets that many at once, one of several that sent parts
	// of it a single one.
	banned = 2
	// someProgress is how many bytes a node must have sent for its failure to count
	// as a loss on the way and not as a failed try.
	someProgress = 64 << 10
)

// roster is who may be asked for an image, and what came of it so far. One
// goroutine at a time uses it.
type roster struct {
	id, self string
	ask      func() []string
	// again says that an earlier load was spoilt: from now on the image comes from
	// holders alone.
	again bool

	current  string          // who gave something last
	lost     string          // who was lost last, on the way: others are better
	failed   map[string]bool // since the last progress
	strikes  map[string]int
	reasons  []HolderFailure // the last of each node, in order
	disputed bool            // somebody told other sizes than the author
}

func newRoster(id, self string, ask func() []string) *roster {
	return &roster{id: id, self: self, ask: ask, failed: map[string]bool{}, strikes: map[string]int{}}
}

// next returns whom to ask. It fails with a *HoldersError when every holder has
// failed since the last progress.
func (r *roster) next() (string, error) {
	var first, last string
	for _, node := range r.ask() {
		switch {
		case node == r.self || r.failed[node] || r.strikes[node] >= banned:
		case node == r.current:
			return node, nil
		case node == r.lost:
			last = node
		case first == "":
			first = node
		}
	}
	if first == "" {
		first = last
	}
	if first != "" {
		return first, nil
	}
	err := error(&HoldersError{ID: r.id, Failures: slices.Clone(r.reasons)})
	if r.disputed {
		err = &disputedError{err}
	}
	return "", err
}

// good says that a node gave what it was asked for.
func (r *roster) good(node string) { r.current = node }

// progress says that the image is a good deal further: failures before it do not
// count any more.
func (r *roster) progress() { clear(r.failed) }

// fail says that a node failed after it sent that many bytes.
func (r *roster) fail(node string, sent int64, err error) {
	r.note(node, err)
	if r.current == node {
		r.current = ""
	}
	var untrue *lieError
	var disputed *disputedError
	switch {
	case errors.As(err, &untrue):
		r.strikes[node] = banned
	case errors.As(err, &disputed):
		r.disputed = true
		r.failed[node] = true
	case sent >= someProgress:
		r.progress()
		r.lost = node
	default:
		r.failed[node] = true
	}
}

// ban asks a node no more, and all others once more.
func (r *roster) ban(node string, err error) {
	r.note(node, err)
	r.strikes[node] = banned
	r.disputed = false
	r.progress()
}

// blame says that a layer was damaged that these nodes sent.
func (r *roster) blame(senders []string, err error) {
	for _, node := range senders {
		r.note(node, err)
		r.strikes[node]++
		if len(senders) == 1 {
			r.strikes[node] = banned
		}
	}
	r.current = ""
}

func (r *roster) note(node string, err error) {
	r.reasons = slices.DeleteFunc(r.reasons, func(f HolderFailure) bool { return f.Node == node })
	r.reasons = append(r.reasons, HolderFailure{node, err})
}
