package ledger

import "time"

// Raise has the cluster write what nodes below the version cannot read.
type Raise struct {
	To int `json:"to"`
}

// Role is what a user may do.
type Role string

// The roles.
const (
	// Admin may touch everything.
	Admin Role = "admin"
	// Member may touch its own.
	Member Role = "user"
)

// User is a person, or a program, that the cluster knows by name.
type User struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Keys are those of the client certificates that speak for it, oldest first.
	Keys    []UserKey `json:"keys,omitempty"`
	By      string    `json:"by,omitempty"` // who added it
	Created time.Time `json:"created"`      // the leader's time
}

// UserKey is the public key of a client certificate.
type UserKey struct {
	Hash    string    `json:"hash"` // SHA-256 of the key in its X.509 form, hexadecimal
	Expires time.Time `json:"expires"`
}

// AddUser adds a user without a key.
type AddUser struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	By   string `json:"by,omitempty"`
}

// ChangeUser gives a user another role.
type ChangeUser struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
}

// RemoveUser removes a user, whose keys are good for nothing from then on. What it owns
// stays its own.
type RemoveUser struct {
	Name string `json:"name"`
}

// AddKey lets a certificate speak for a user.
type AddKey struct {
	User string  `json:"user"`
	Key  UserKey `json:"key"`
}

// Vote says whether a node is to vote on the log.
type Vote struct {
	Node string   `json:"node"`
	Want Suffrage `json:"want,omitempty"`
}

// Suffrage is what an administrator wants of a node's vote.
type Suffrage string

// The wishes; empty: as it comes.
const (
	Always Suffrage = "always" // before all others
	Never  Suffrage = "never"
)

// Remove takes a node out of the cluster. What it held is free, and its placements are
// remembered as lost.
type Remove struct {
	Node string `json:"node"`
	By   string `json:"by,omitempty"`
	// Left says that the node itself leaves, which is refused while it has placements
	// unless Force.
	Left  bool `json:"left,omitempty"`
	Force bool `json:"force,omitempty"`
}

// Forget ends the memory of a lost placement. An unknown one is no error.
type Forget struct {
	Placement string `json:"placement"`
}

// Lost is a placement whose node was removed.
type Lost struct {
	Placement Placement `json:"placement"`
	Host      string    `json:"host"` // the node's name
	At        time.Time `json:"at"`   // the leader's time
	// Left says that the node left by itself: the container may run there still, as one
	// of that machine's own engine.
	Left bool `json:"left,omitempty"`
}

// Departed is a node that was removed. Its certificate is good for nothing.
type Departed struct {
	ID   string    `json:"id"`
	Name string    `json:"name"`
	At   time.Time `json:"at"` // the leader's time
	By   string    `json:"by,omitempty"`
	Left bool      `json:"left,omitempty"`
}
