package ledger

// MaxMerge is how many images one Merge names at most. What follows is left: a
// node sends the rest in another.
const MaxMerge = 256

// Claim reserves a name for an image that is being made, for a day. Repeating it
// changes nothing.
type Claim struct {
	Claim string `json:"claim"` // an ID of its own
	Name  string `json:"name"`
	Node  string `json:"node"` // where it is being made
	Owner string `json:"owner,omitempty"`
	// Commit says that the node is to be asked at once, and never comes to make it
	// if that does not reach it.
	Commit bool `json:"commit,omitempty"`
}

// NameImage gives a free name to an image that some node has. Giving it the name
// that it has changes nothing.
type NameImage struct {
	// Image's Name and ID are needed. Its Node, where there is one, has the image
	// now; without, some node must have been seen to have it. Its Created, Claim
	// and Index are the ledger's to say.
	Image Image `json:"image"`
	// Claim is the claim that this fulfils; empty: none.
	Claim string `json:"claim,omitempty"`
	// Was is the image that the name may be taken from, if it has the same owner, or
	// none; empty: none. A build gives its name to what it built last. It may be the
	// image itself, which then gets an owner if it has none.
	Was string `json:"was,omitempty"`
}

// Merge names the images that a node has had by itself, at most MaxMerge of them.
// A name that stands for something else, that is to be taken away there, or that
// the node was not last seen to have, is left as it is.
type Merge struct {
	Node   string  `json:"node"`
	Images []Image `json:"images"`
}

// Unclaim gives a claim up. An unknown one is no error.
type Unclaim struct {
	Claim string `json:"claim"`
}

// Unname takes a name from an image, on all nodes.
type Unname struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// Force allows to take the last name of an image that containers use.
	Force bool `json:"force,omitempty"`
}

// Evict allows a node to remove its copy of an image, if as many others remain as
// the settings ask for. Who of them is alive, the ledger does not know. From then
// on the node counts as one that has it no more, until it lists it again.
type Evict struct {
	Node string `json:"node"`
	ID   string `json:"id"`
}
