package node

import (
	"context"
	"maps"
	"time"

	"ddocker/engine"
)

// identity is what one of the engine's images is to the cluster, or why that is not
// known since a while.
type identity struct {
	id  string
	err error
	at  time.Time
}

const (
	// slowLook is how long it takes at least to find out what an image is where that
	// is a burden to the engine: some tell it only with all of the image.
	slowLook = time.Second
	// lookAgain is when a slow look that failed is tried again.
	lookAgain = 5 * time.Minute
)

// identify returns the cluster's ID of an image, given the engine's. It never
// changes. Finding it out may take minutes.
func (n *Node) identify(ctx context.Context, own string) (string, error) {
	if known, ok := n.identity(own); ok {
		return known.id, known.err
	}
	began := time.Now()
	id, err := n.cfg.Library.ConfigID(ctx, own)
	now := time.Now()
	if ctx.Err() == nil && (err == nil || now.Sub(began) >= slowLook) {
		n.mu.Lock()
		n.identities[own] = identity{id, err, now}
		n.mu.Unlock()
	}
	return id, err
}

// identity returns what is known of an image without a look at it.
func (n *Node) identity(own string) (known identity, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	known, ok = n.identities[own]
	return known, ok && (known.err == nil || time.Since(known.at) < lookAgain)
}

// forgetIdentities forgets all images but the listed.
func (n *Node) forgetIdentities(list []engine.Image) {
	listed := map[string]bool{}
	for _, i := range list {
		listed[i.ID] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.identities, func(own string, _ identity) bool { return !listed[own] })
}
