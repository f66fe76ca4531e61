package ledger

import "encoding/json"

// Define takes the name of a network or a volume that is about to be made on the
// engine of Home. A name that is taken is refused as a Conflict.
type Define struct {
	Kind  Kind            `json:"kind"`
	Name  string          `json:"name"`
	Owner string          `json:"owner,omitempty"`
	Home  string          `json:"home"` // the node's ID
	Spec  json.RawMessage `json:"spec"` // Docker's create body
}

// Made records that a node's engine has the object, by the engine's own ID.
type Made struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	Node string `json:"node"`
	ID   string `json:"id"`
	// Found says that it was there already.
	Found bool `json:"found,omitempty"`
}

// Unmade records that a node's engine has the object no more. An object that no
// engine has is none.
type Unmade struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	Node string `json:"node"`
	ID   string `json:"id"`
}

// Undefine ends an object. Nodes that have it and were not Done have it removed
// when they reconcile.
type Undefine struct {
	Kind Kind     `json:"kind"`
	Name string   `json:"name"`
	ID   string   `json:"id"`             // the object's, so that no namesake goes
	Done []string `json:"done,omitempty"` // nodes whose engines have it no more
}

// Attach records that a placement's container was connected to a network, or
// disconnected from it.
type Attach struct {
	Placement string `json:"placement"`
	Network   string `json:"network"` // its name
	Detach    bool   `json:"detach,omitempty"`
}

// Move gives placements that are on one node, and whose containers were never
// started, a place together on another: the first candidate that has room for all
// of them, and for Beside. Networks and volumes that only they use go with them.
type Move struct {
	Placements []string `json:"placements"`
	// Beside is a reservation that is to follow there.
	Beside     *Reserve `json:"beside,omitempty"`
	Candidates []string `json:"candidates"`
}
