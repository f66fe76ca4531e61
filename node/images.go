package node

import (
	"slices"
	"strings"

	"github.com/distribution/reference"

	"ddocker/consensus/ledger"
)

// hasImage says whether the node was last seen to have the image that a person
// names: by name, where no tag means latest, by ID, or by the beginning of an ID.
func hasImage(n *ledger.Node, ref string) bool {
	if named, err := reference.ParseDockerRef(ref); err == nil && n.HasImage(reference.FamiliarString(named)) {
		return true
	}
	id := "sha256:" + strings.TrimPrefix(ref, "sha256:")
	at, exact := slices.BinarySearch(n.Observed.Images, id)
	if exact {
		return true
	}
	const shortest = len("sha256:") + 4
	return len(id) >= shortest && at < len(n.Observed.Images) && strings.HasPrefix(n.Observed.Images[at], id)
}
