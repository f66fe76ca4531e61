package ledger

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"ddocker/sched"
	"ddocker/settings"
)

func (l *Ledger) register(c *Register) Result {
	if c.Node == "" || c.Name == "" {
		return refuse(Invalid, "a node needs an ID and a name")
	}
	if n := l.NodeNamed(c.Name); n != nil && n.Name == c.Name && n.Node != c.Node {
		return refuse(Conflict, "a node named %s is already in the cluster, at %s: start this one with another --name", c.Name, n.Address)
	}
	if gone := l.GoneNode(c.Node); gone != nil {
		return refuse(Unknown, "node %s was removed from the cluster by %s at %s", c.Name, gone.By, gone.At.Format(time.RFC3339))
	}
	n := Node{held: map[string]*Placement{}}
	if old := l.nodes[c.Node]; old != nil {
		n = *old
	}
	had := n.Capacity.Cards
	n.Register = *c
	if n.Keep = false; c.Keep {
		n.Capacity.Cards = had
	}
	l.put(&n)
	return Result{}
}

func (l *Ledger) observe(c *Observe) Result {
	old := l.nodes[c.Node]
	if old == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Node)
	}
	images := l.observeImages(old, c)
	n := *old
	n.Observed = *c
	n.Observed.Images = old.Observed.Images
	n.Observed.Containers = l.staying(old, c.Containers)
	n.evicted = n.evictedSince(c.Seen)
	l.put(&n)
	l.setHoldings(c.Node, images)
	l.forgetLost(old.Observed.Images)
	l.found(c)
	return Result{}
}

func (l *Ledger) configure(s *settings.Settings) Result {
	if s.Buffer.Cores < 0 || s.Buffer.Memory < 0 {
		return refuse(Invalid, "a host cannot keep a negative amount for itself")
	}
	whole := s.Complete()
	if whole.ImageReplicas < 1 || whole.ImageDisk < 1 || whole.ImageDisk > 100 {
		return refuse(Invalid, "images need at least 1 host and from 1 to 100 percent of its disk")
	}
	l.settings = whole
	for _, n := range l.nodes {
		n.host.Buffer = l.buffer()
	}
	return Result{}
}

func (l *Ledger) buffer() sched.Buffer {
	return sched.Buffer{Cores: l.settings.Buffer.Cores, Memory: l.settings.Buffer.Memory}
}

// put stands a node in the ledger, its host summed up anew.
func (l *Ledger) put(n *Node) {
	if old := l.nodes[n.Node]; old != nil {
		l.drop(old)
	}
	n.host = &sched.Host{
		ID: n.Node, Name: n.Name, Closed: n.Closed(),
		Cores: n.Capacity.Cores, Memory: n.Capacity.Memory, Topology: n.Capacity.Topology,
		Buffer: l.buffer(), Held: l.held(n, ""),
	}
	for port := range n.host.Held.Ports() {
		l.ports.add(port, 1)
	}
	l.nodes[n.Node] = n
	at, _ := slices.BinarySearchFunc(l.hosts, n.host, byName)
	l.hosts = slices.Insert(l.hosts, at, n.host)
	l.stake(n)
}

// Closed says why the node takes nothing new; empty: it does.
func (n *Node) Closed() string {
	if n.Drained != "" {
		return "drained by " + n.Drained
	}
	return n.Observed.Closed
}

// somebody stands for whoever drains a node and is not known by name.
const somebody = "somebody"

func (l *Ledger) drain(c *Drain) Result {
	old := l.nodes[c.Node]
	if old == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Node)
	}
	n := *old
	n.Drained = cmp.Or(c.By, somebody)
	if c.Open {
		n.Drained = ""
	}
	l.put(&n)
	return Result{}
}

func (l *Ledger) vote(c *Vote) Result {
	old := l.nodes[c.Node]
	if old == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Node)
	}
	if c.Want != "" && c.Want != Always && c.Want != Never {
		return refuse(Invalid, "%q is no wish for a vote: it is %q, %q or none", c.Want, Always, Never)
	}
	n := *old
	n.Vote = c.Want
	l.put(&n)
	return Result{}
}

// unfit says whether a key of a label may not have the character: rules could not name
// it.
func unfit(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

func (l *Ledger) labelNode(c *LabelNode) Result {
	old := l.nodes[c.Node]
	if old == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Node)
	}
	n := *old
	n.Labels = map[string]string{}
	maps.Copy(n.Labels, old.Labels)
	for key, value := range c.Labels {
		if key == "" || len(key) > maxLabel || len(value) > maxLabel {
			return refuse(Invalid, "a label has a key and a value of at most %d bytes", maxLabel)
		}
		if strings.ContainsFunc(key, unfit) || key == "node" {
			return refuse(Invalid, "%q is no key of a label: it has letters, digits, dots, dashes and underscores, and is not \"node\"", key)
		}
		if n.Labels[key] = value; value == "" {
			delete(n.Labels, key)
		}
	}
	if len(n.Labels) > maxLabels {
		return refuse(Invalid, "node %s would have more than %d labels", n.Name, maxLabels)
	}
	l.put(&n)
	return Result{}
}

// drop takes a node's host out, and its ports out of the cluster's count.
func (l *Ledger) drop(n *Node) {
	for port := range n.host.Held.Ports() {
		l.ports.add(port, -1)
	}
	if at, ok := slices.BinarySearchFunc(l.hosts, n.host, byName); ok {
		l.hosts = slices.Delete(l.hosts, at, at+1)
	}
}

func byName(a, b *sched.Host) int { return cmp.Compare(a.Name, b.Name) }
