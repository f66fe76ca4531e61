package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"ddocker/sched"
	"ddocker/settings"
)

// Bounds of what is remembered of the past.
const (
	maxMemos   = 4096
	maxExpired = 1024
	maxEvicted = 256 // of a node
)

// Ledger is one replica's state. It has no lock: see the package comment.
type Ledger struct {
	index      uint64
	settings   settings.Settings
	nodes      map[string]*Node
	hosts      []*sched.Host // one a node, by name
	placements map[string]*Placement
	names      map[string]string // container name → placement ID
	containers map[string]string // container ID → placement ID
	ports      ports
	cards      stakes
	published  uint64                     // see Published; it is no part of the state
	tokens     map[string]Token           // by hash
	memos      memory                     // results by request ID
	images     map[string]*Image          // by name
	named      map[string][]string        // names by image ID, sorted
	holders    map[string]map[string]bool // nodes that have it, by image ID
	removals   []Removal                  // oldest first; appended to or replaced, not changed
	objects    map[thing]*Object
	uses       uses       // of the objects
	leftovers  []Leftover // oldest first; replaced, not changed
	expired    []string   // placements released without a container, oldest first
	level      int        // see Level
	users      map[string]*User
	keys       map[string]string // user's name by the hash of its key
	lost       []Lost            // oldest first; replaced, not changed
	gone       []Departed        // oldest first; replaced, not changed
	rotations  []Rotation        // oldest first; replaced, not changed
	spilled    bool              // see Spilled
}

// Node is a machine of the cluster. What is exported of it is never changed once
// it stands in the ledger, but replaced, so that a snapshot can be written while
// commands go on.
type Node struct {
	Register
	Observed Observe
	// Drained says by whom the node was closed for new containers; empty: it was not.
	Drained string
	// Labels are for rules, and for people.
	Labels map[string]string
	// Vote is what an administrator wants of its vote.
	Vote Suffrage
	// evicted are copies that it was allowed to remove since it listed its images,
	// each with its place in the log, oldest first; replaced, not changed.
	evicted []Holding

	host   *sched.Host
	held   map[string]*Placement
	stakes []string // its part of the ledger's stakes
}

// Placement is a container's place and what it is granted there. Values are
// never changed once they stand in the ledger, but replaced.
type Placement struct {
	ID        string        `json:"id"`
	Node      string        `json:"node"`
	Name      string        `json:"name"`
	Container string        `json:"container,omitempty"` // empty until the holder confirmed it
	Image     string        `json:"image"`
	ImageID   string        `json:"imageID,omitempty"`
	Type      string        `json:"type,omitempty"`
	Owner     string        `json:"owner,omitempty"`
	Request   sched.Request `json:"request"`
	Grant     sched.Grant   `json:"grant"`
	Created   time.Time     `json:"created"` // the leader's time of the reservation
	// Networks and Volumes are the names of those that it uses.
	Networks []string `json:"networks,omitempty"`
	Volumes  []string `json:"volumes,omitempty"`
	// Project is the compose project that it is held together with.
	Project string `json:"project,omitempty"`
	// Replaces is the placement on this node whose place it takes over. The two may hold
	// the same, so it must not run as long as that is there.
	Replaces string `json:"replaces,omitempty"`
	// Apart says that its host was asked for by name: its networks may be elsewhere.
	Apart bool `json:"apart,omitempty"`
	// Was are the containers that it had on other hosts before it was moved, by node;
	// oldest first.
	Was []Instance `json:"was,omitempty"`
}

// New returns an empty ledger with the default settings.
func New() *Ledger {
	return &Ledger{
		settings:   settings.Default(),
		nodes:      map[string]*Node{},
		placements: map[string]*Placement{},
		names:      map[string]string{},
		containers: map[string]string{},
		ports:      newPorts(),
		cards:      stakes{},
		tokens:     map[string]Token{},
		images:     map[string]*Image{},
		named:      map[string][]string{},
		holders:    map[string]map[string]bool{},
		memos:      memory{byID: map[string]memo{}},
		objects:    map[thing]*Object{},
		uses:       uses{},
		level:      firstLevel,
		users:      map[string]*User{},
		keys:       map[string]string{},
	}
}

// Apply carries out the command of one log entry. Index is the entry's place in
// the log and at the leader's time when it was appended. Bytes that are no
// command are refused and change nothing but the index. An entry of a newer version
// than this ledger reads does not even change that: it is refused as Newer, and
// whoever goes on to the next entry is no replica any more.
func (l *Ledger) Apply(index uint64, at time.Time, data []byte) Result {
	var c Command
	err := json.Unmarshal(data, &c)
	if c.Version > Version {
		return Result{Refusal: newer("an entry of the log", c.Version)}
	}
	l.index = index
	if err != nil {
		return refuse(Invalid, "the log entry is no command: %v", err)
	}
	if c.Version < 1 {
		return refuse(Invalid, "the command has version %d, which no ddocker wrote", c.Version)
	}
	if m, ok := l.memos.byID[c.ID]; ok && c.ID != "" {
		return l.recall(m)
	}
	result := l.apply(&c, at)
	if c.ID != "" {
		l.memos.add(newMemo(c.ID, result))
	}
	return result
}

// newer refuses what a newer ddocker wrote.
func newer(what string, version int) *Refusal {
	return &Refusal{Newer, fmt.Sprintf("%s has version %d, and this ddocker reads up to %d: upgrade ddocker on this machine", what, version, Version)}
}

func (l *Ledger) apply(c *Command, at time.Time) Result {
	switch {
	case c.Register != nil:
		return l.register(c.Register)
	case c.Observe != nil:
		return l.observe(c.Observe)
	case c.Reserve != nil:
		return l.reserve(c.Reserve, at)
	case c.Confirm != nil:
		return l.confirm(c.Confirm)
	case c.Release != nil:
		return l.release(c.Release)
	case c.Rename != nil:
		return l.rename(c.Rename)
	case c.Limit != nil:
		return l.limit(c.Limit)
	case c.Configure != nil:
		return l.configure(c.Configure)
	}
	return l.applyNodes(c, at)
}

func (l *Ledger) applyNodes(c *Command, at time.Time) Result {
	switch {
	case c.Drain != nil:
		return l.drain(c.Drain)
	case c.LabelNode != nil:
		return l.labelNode(c.LabelNode)
	case c.AddToken != nil:
		return l.addToken(*c.AddToken, at)
	case c.UseToken != nil:
		return l.useToken(c.UseToken, at)
	case c.Revoke != nil:
		delete(l.tokens, c.Revoke.Hash)
		return Result{}
	}
	return l.applyImages(c, at)
}

func (l *Ledger) applyImages(c *Command, at time.Time) Result {
	switch {
	case c.Claim != nil:
		return l.claim(c.Claim, at)
	case c.Unclaim != nil:
		return l.unclaim(c.Unclaim)
	case c.NameImage != nil:
		return l.nameImage(c.NameImage, at)
	case c.Merge != nil:
		return l.merge(c.Merge, at)
	case c.Unname != nil:
		return l.unname(c.Unname)
	case c.Evict != nil:
		return l.evict(c.Evict)
	}
	return l.applyObjects(c, at)
}

func (l *Ledger) applyObjects(c *Command, at time.Time) Result {
	switch {
	case c.Define != nil:
		return l.define(c.Define, at)
	case c.Made != nil:
		return l.made(c.Made)
	case c.Unmade != nil:
		return l.unmade(c.Unmade)
	case c.Undefine != nil:
		return l.undefine(c.Undefine)
	case c.Attach != nil:
		return l.attach(c.Attach)
	case c.Move != nil:
		return l.move(c.Move)
	}
	return l.applyTrust(c, at)
}

func (l *Ledger) applyTrust(c *Command, at time.Time) Result {
	switch {
	case c.Raise != nil:
		return l.raise(c.Raise)
	case c.AddUser != nil:
		return l.addUser(c.AddUser, at)
	case c.ChangeUser != nil:
		return l.changeUser(c.ChangeUser)
	case c.RemoveUser != nil:
		return l.removeUser(c.RemoveUser)
	case c.AddKey != nil:
		return l.addKey(c.AddKey, at)
	case c.Vote != nil:
		return l.vote(c.Vote)
	case c.Remove != nil:
		return l.remove(c.Remove, at)
	case c.Forget != nil:
		return l.forget(c.Forget)
	case c.Rotate != nil:
		return l.rotate(c.Rotate, at)
	case c.Advance != nil:
		return l.advance(c.Advance, at)
	}
	return refuse(Invalid, "the command has no verb that this node knows: upgrade ddocker on it")
}
