package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// FoundImage is what a name or an ID of an image stands for.
type FoundImage struct {
	ID string
	// Name is the name it was found by, as ImageName has it; empty: by its ID, by a
	// digest, or by a name that is not the cluster's yet.
	Name string
	// Node is the only node on which Name means this image; empty: it is a name of
	// the cluster's, or none.
	Node string
}

// FindImage finds the image that a person means, as Docker does: by name, where
// no tag means latest, by digest, by ID or the beginning of one that is no
// other's. "name@host" is the image that has the name on that host alone. A
// Refusal of code Unknown or Invalid says that there is none, or more than one.
// A name that was taken away is found no more, even where the node that has it is
// away.
func (l *Ledger) FindImage(ref string) (FoundImage, *Refusal) {
	if name, host, ok := CutHost(ref); ok {
		return l.findLocal(name, host)
	}
	name, ok := ImageName(ref)
	if !ok {
		name, _ = imageDigest(ref)
	}
	if i := l.images[name]; i != nil {
		if i.ID == "" {
			return FoundImage{}, &Refusal{Unknown, fmt.Sprintf("No such image: %s (it is being made on host %s)", ref, l.nodeName(i.Node))}
		}
		return FoundImage{ID: i.ID, Name: name}, nil
	}
	found := found{on: map[string]string{}}
	if name != "" {
		l.findByName(name, &found)
	}
	if len(found.ids) == 0 {
		l.findByID(ref, &found)
	}
	return found.single(ref)
}

// CutHost splits "name@host", the name of an image on one host alone. Not ok: ref
// says no host; what follows the "@" of a digest is none.
func CutHost(ref string) (name, host string, ok bool) {
	at := strings.LastIndexByte(ref, '@')
	if at < 0 || strings.Contains(ref[at:], ":") {
		return ref, "", false
	}
	return ref[:at], ref[at+1:], true
}

// found are the images that a reference may mean, and the first host of each.
type found struct {
	ids []string
	on  map[string]string
}

func (f *found) add(id, host string) {
	if _, ok := f.on[id]; !ok {
		f.ids = append(f.ids, id)
		f.on[id] = host
	}
}

func (f *found) single(ref string) (FoundImage, *Refusal) {
	switch len(f.ids) {
	case 0:
		return FoundImage{}, NoImage(ref)
	case 1:
		return FoundImage{ID: f.ids[0]}, nil
	}
	var where []string
	for _, id := range f.ids[:min(maxNamed, len(f.ids))] {
		where = append(where, fmt.Sprintf("%s on host %s", Short(id), f.on[id]))
	}
	return FoundImage{}, &Refusal{Invalid, fmt.Sprintf("image %s is ambiguous: it may be %s: choose one by its ID", ref, strings.Join(where, ", or "))}
}

// findByName finds the images that have a tag or a digest on some node.
func (l *Ledger) findByName(name string, f *found) {
	for _, host := range l.hosts {
		for _, h := range l.nodes[host.ID].Observed.Images {
			if _, ok := slices.BinarySearch(h.Names, name); ok && !l.Removing(host.ID, name, h.ID) {
				f.add(h.ID, host.Name)
			}
		}
	}
}

func (l *Ledger) findLocal(ref, host string) (FoundImage, *Refusal) {
	n := l.NodeNamed(host)
	if n == nil {
		return FoundImage{}, &Refusal{Unknown, "No such node: " + host}
	}
	if name, ok := ImageName(ref); ok {
		for _, h := range n.Observed.Images {
			if _, ok := slices.BinarySearch(h.Names, name); ok && !l.Removing(n.Node, name, h.ID) {
				return FoundImage{ID: h.ID, Name: name, Node: n.Node}, nil
			}
		}
	}
	return FoundImage{}, &Refusal{Unknown, fmt.Sprintf("No such image on host %s: %s", n.Name, ref)}
}

// shortestID is how many digits of an ID are taken for one.
const shortestID = 4

func (l *Ledger) findByID(ref string, f *found) {
	prefix := "sha256:" + strings.TrimPrefix(ref, "sha256:")
	if l.holders[prefix] != nil { // a whole ID
		f.add(prefix, "")
		return
	}
	if len(prefix) < len("sha256:")+shortestID {
		return
	}
	for _, host := range l.hosts {
		images := l.nodes[host.ID].Observed.Images
		at, _ := slices.BinarySearchFunc(images, prefix, byID)
		for _, h := range images[at:] {
			if !strings.HasPrefix(h.ID, prefix) {
				break
			}
			f.add(h.ID, host.Name)
		}
	}
}

// NoImage says that there is no such image, as Docker does: by its name with the tag.
func NoImage(ref string) *Refusal {
	if name, ok := ImageName(ref); ok {
		ref = name
	}
	return &Refusal{Unknown, "No such image: " + ref}
}
