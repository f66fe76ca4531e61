package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// outward holds the connections that this agent has opened to other nodes.
type outward struct {
	mu   sync.Mutex // guards open
	open map[*outwardConn]bool
}

// outwardConn is a connection to a node.
type outwardConn struct {
	net.Conn
	node string
	of   *outward
}

// Close closes the connection.
func (c *outwardConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// to is a network whose connections are all to one node.
func (o *outward) to(node string, n network) network { return outwardNetwork{n, node, o} }

type outwardNetwork struct {
	network
	node string
	of   *outward
}

// Dial connects.
func (n outwardNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	raw, err := n.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &outwardConn{raw, n.node, n.of}
	n.of.mu.Lock()
	if n.of.open == nil {
		n.of.open = map[*outwardConn]bool{}
	}
	n.of.open[c] = true
	n.of.mu.Unlock()
	return c, nil
}

// cut closes the connections to the nodes that are gone.
func (o *outward) cut(gone func(node string) bool) {
	var cut []*outwardConn
	o.mu.Lock()
	for c := range o.open {
		if gone(c.node) {
			cut = append(cut, c)
		}
	}
	o.mu.Unlock()
	for _, c := range cut {
		c.Close()
	}
}

// leaveGrace is how long a node that has left by its own wish is still answered: it has to
// hear that it may go.
const leaveGrace = 2 * time.Second

// refusal says why nobody here speaks with a node that shows that key, as an error. It is
// this node's word on another and never an *unwelcome, which is the others' on this one.
func (a *agent) refusal(node, key string) (err error) {
	a.log.View(func(l *ledger.Ledger) {
		if n := l.Node(node); n != nil && n.Key != "" && key != "" && n.Key != key {
			err = fmt.Errorf("node %s has registered another key", n.Name)
		}
		if gone := l.GoneNode(node); gone != nil && !(gone.Left && time.Since(gone.At) < leaveGrace) {
			err = errors.New(partingOf(gone).Error())
		}
	})
	return err
}

// evict closes what is open to and from nodes as soon as they are removed, until ctx ends.
func (a *agent) evict(ctx context.Context) {
	last := ""
	var late <-chan time.Time
	for {
		changed := a.log.Changed()
		newest := ""
		a.log.View(func(l *ledger.Ledger) {
			if gone := l.Departed(); len(gone) > 0 {
				newest = gone[len(gone)-1].ID
			}
		})
		if newest != last {
			last, late = newest, time.After(leaveGrace)
			a.cutGone()
		}
		select {
		case <-changed:
		case <-late:
			a.cutGone()
		case <-ctx.Done():
			return
		}
	}
}

func (a *agent) cutGone() {
	a.port.Cut(func(p identity.Peer) bool { return p.Node != "" && a.refusal(p.Node, p.Key) != nil })
	a.outward.cut(func(node string) bool { return a.refusal(node, "") != nil })
}
