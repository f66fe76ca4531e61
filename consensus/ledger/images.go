package ledger

import (
	"strings"
	"time"

	"github.com/distribution/reference"
)

// Image is a name of the cluster's, and the image that it stands for. Values are
// never changed once they stand in the ledger, but replaced.
type Image struct {
	// Name is as docker shows it, with its tag: "python3_cuda:numpy".
	Name string `json:"name"`
	// ID is the digest of the image's configuration, "sha256:…"; empty while it is
	// being made.
	ID    string `json:"id,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Layers are the image's, bottom first; empty where nobody could tell.
	Layers []Layer `json:"layers,omitempty"`
	// Node is where it was made, or is being made.
	Node    string    `json:"node,omitempty"`
	Created time.Time `json:"created"` // the leader's time of the name
	// Claim names the request that is making it; empty once it is made.
	Claim string `json:"claim,omitempty"`
	// Commit is the claim's.
	Commit bool `json:"commit,omitempty"`
	// Index is the place in the log at which the name was taken. It tells two images
	// that had one name after another apart.
	Index uint64 `json:"index,omitempty"`
}

// Layer is one layer of an image, named by the chain of layers up to it.
type Layer struct {
	Chain string `json:"chain"` // sha256:…
	Size  int64  `json:"size"`  // bytes, as a tar
}

// Size returns the bytes of all layers.
func (i *Image) Size() (size int64) {
	for _, l := range i.Layers {
		size += l.Size
	}
	return size
}

// Holding is an image that a node's engine has.
type Holding struct {
	ID string `json:"id"` // as Image's
	// Names are its tags, familiar, and its digests; sorted.
	Names []string `json:"names,omitempty"`
	Size  int64    `json:"size,omitempty"` // bytes, as the engine counts
	// Index is the place in the log at which the ledger was told of it before the
	// node listed it; 0: the node did.
	Index uint64 `json:"index,omitempty"`
}

// Removal is a name that was taken from an image, and has yet to be taken from it
// on some nodes.
type Removal struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Index uint64 `json:"index"` // its place in the log
	// Nodes had the image and have not shown since that they did it; sorted.
	Nodes []string `json:"nodes"`
	// Force says that containers made from the image do not keep the name.
	Force bool `json:"force,omitempty"`
}

// digestName is what no repository may be called: "sha256:…" is an ID.
const digestName = "sha256"

// ImageName returns the name as docker shows it, with its tag. Not ok: ref is no
// name, or one with a digest.
func ImageName(ref string) (name string, ok bool) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || reference.FamiliarName(named) == digestName {
		return "", false
	}
	if _, digested := named.(reference.Digested); digested {
		return "", false
	}
	return reference.FamiliarString(reference.TagNameOnly(named)), true
}

// imageDigest returns a name with a digest as docker lists it, without a tag.
func imageDigest(ref string) (name string, ok bool) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", false
	}
	if _, ok := named.(reference.Digested); !ok {
		return "", false
	}
	return reference.FamiliarString(named), true
}

// exactName says whether the text is a name in the one form in which the ledger
// keeps it.
func exactName(text string) bool {
	name, ok := ImageName(text)
	return ok && name == text
}

// Short is an ID as people see it.
func Short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
