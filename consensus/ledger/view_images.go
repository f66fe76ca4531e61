package ledger

import (
	"cmp"
	"maps"
	"slices"
)

// Image returns the image that has the name, being made or not, or nil.
func (l *Ledger) Image(name string) *Image { return l.images[name] }

// Images returns all names of images, in their order.
func (l *Ledger) Images() []*Image { return slices.SortedFunc(maps.Values(l.images), byImageName) }

func byImageName(a, b *Image) int { return cmp.Compare(a.Name, b.Name) }

// ImageNames returns the cluster's names of the image with the ID, sorted.
func (l *Ledger) ImageNames(id string) []string { return l.named[id] }

// ImageHolders returns the IDs of the nodes that were last seen to have the image
// with the ID, sorted.
func (l *Ledger) ImageHolders(id string) []string { return slices.Sorted(maps.Keys(l.holders[id])) }

// Namesakes returns the names that stand for another image on the node than in
// the cluster, with the node's IDs.
func (l *Ledger) Namesakes(node string) map[string]string {
	n := l.nodes[node]
	if n == nil {
		return nil
	}
	other := map[string]string{}
	for _, h := range n.Observed.Images {
		for _, name := range h.Names {
			i := l.images[name]
			if i != nil && i.ID != "" && i.ID != h.ID && !l.Removing(node, name, h.ID) {
				other[name] = h.ID
			}
		}
	}
	return other
}

// Removals returns the names that the node has yet to take from its images.
func (l *Ledger) Removals(node string) (list []Removal) {
	for _, r := range l.removals {
		if r.has(node) {
			list = append(list, r)
		}
	}
	return list
}

// Claims returns the names that are being made on the node, in their order.
func (l *Ledger) Claims(node string) (list []*Image) {
	for _, i := range l.images {
		if i.Claim != "" && i.Node == node {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, byImageName)
	return list
}

// ImageUser names a container that was made from the image with the ID, and its
// host; empty: there is none.
func (l *Ledger) ImageUser(id string) string {
	for _, h := range l.hosts {
		if user := l.imageUserOn(l.nodes[h.ID], id); user != "" {
			return user
		}
	}
	return ""
}

func (l *Ledger) imageUserOn(n *Node, id string) string {
	first := ""
	for _, p := range n.held { // in no order: the first by name is told
		if p.ImageID == id && (first == "" || p.Name < first) {
			first = p.Name
		}
	}
	for i := range n.Observed.Containers {
		if o := &n.Observed.Containers[i]; first == "" && o.ImageID == id {
			first = o.Name
		}
	}
	if first == "" {
		return ""
	}
	return first + " on host " + n.Name
}

// layers returns the layers of the image with the ID, where some name knows them.
func (l *Ledger) layers(id string) []Layer {
	for _, name := range l.named[id] {
		if i := l.images[name]; len(i.Layers) > 0 {
			return i.Layers
		}
	}
	return nil
}

// Missing returns a function that tells how many bytes of the image a node lacks,
// as far as layers are known of what it has: all that some node counts, where those
// of the image are not. It is good while the ledger is lent.
func (l *Ledger) Missing(id string) func(node string) int64 {
	layers := l.layers(id)
	var whole int64
	for _, x := range layers {
		whole += x.Size
	}
	if len(layers) == 0 {
		for node := range l.holders[id] {
			whole = max(whole, l.nodes[node].Holding(id).Size)
		}
	}
	most := map[string]int64{} // bytes that a node has of another image, by node
	for other := range l.named {
		bytes := common(layers, l.layers(other))
		if bytes == 0 {
			continue
		}
		for node := range l.holders[other] {
			most[node] = max(most[node], bytes)
		}
	}
	return func(node string) int64 {
		if l.holders[id][node] {
			return 0
		}
		return whole - most[node]
	}
}

// common sums up the layers that both begin with.
func common(a, b []Layer) (bytes int64) {
	for i := range min(len(a), len(b)) {
		if a[i].Chain != b[i].Chain {
			break
		}
		bytes += a[i].Size
	}
	return bytes
}
