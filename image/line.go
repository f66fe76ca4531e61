package image

import (
	"sync"
	"sync/atomic"
)

// lines are the chains of receivers that this host's layers go along: it sends a
// layer to the first, which forwards it to the second while receiving, and so on.
// So many receivers of a layer cost this host's link little more than one.
type lines struct {
	mu   sync.Mutex // guards what follows
	byOf map[part]*line
}

// line is the chain of one layer. It lasts while this host sends the layer.
type line struct {
	sends  int      // layers on their way from here
	lead   *sending // the last of them
	tail   string   // the last node of the chain: whoever comes next follows it
	behind int64    // bytes that were sent to late comers besides, so that they could follow
}

// sending is one layer on its way from here.
type sending struct {
	pos atomic.Int64 // bytes of the layer up to here are sent
}

// newcomer is a node that asks for a part of a layer.
type newcomer struct {
	node   string
	asked  span
	size   int64 // the layer's
	direct bool  // it follows nobody
}

// join returns the node that a newcomer is to follow, or "" and what to send it.
// Late comers get from here what the chain is past: all of them together about as
// much as the layer once.
func (ls *lines) join(p part, n newcomer) (forwarder string, s *sending) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byOf[p]
	if l != nil && !n.direct && l.takes(n) {
		forwarder, l.tail = l.tail, n.node
		return forwarder, nil
	}
	if l == nil {
		l = &line{}
		if ls.byOf == nil {
			ls.byOf = map[part]*line{}
		}
		ls.byOf[p] = l
	}
	l.sends++
	s = &sending{}
	s.pos.Store(n.asked.from)
	if n.asked.to == n.size {
		l.lead, l.tail = s, n.node
	} else {
		l.behind += n.asked.to - n.asked.from
	}
	return "", s
}

// takes says whether a newcomer can come last.
func (l *line) takes(n newcomer) bool {
	if n.node == "" || l.tail == "" || l.tail == n.node {
		return false
	}
	late := l.lead.pos.Load() - n.asked.from
	return late >= 0 && late < n.size && l.behind+late <= n.size
}

// leave ends a sending.
func (ls *lines) leave(p part) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byOf[p]
	if l.sends--; l.sends == 0 {
		delete(ls.byOf, p)
	}
}
