package judge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// line is one of a ledger that was saved. What it tells depends on which fields it has.
type line struct {
	Register *struct{ Node, Name string } // of a node
	ID       string                       // of a placement, of an image, or of a request
	Node     string
	Name     string
	Layers   json.RawMessage // of an image
	// Container is the one that the placement is for; empty while it is being made.
	Container string
	Grant     *struct {
		Cores string
		Ports []struct {
			Host  int
			Proto string
		}
		GPUs []string
	}
}

// Books is what a ledger says.
type Books struct {
	nodes      map[string]string // names by ID
	Placements []Placement
	Images     []string // names
}

// Placement is who holds what on a host.
type Placement struct {
	ID, Host, Name, Container string
	Cores                     []int
	Ports                     []string // "25000/tcp"
	GPUs                      []string
}

// Books returns the ledger of host i, counted from 1.
func (j *Judge) Books(ctx context.Context, i int) (Books, error) {
	var text []byte
	b := Books{nodes: map[string]string{}}
	if err := j.Agent(i).get(ctx, "/ddocker/raft/snapshot", &text); err != nil {
		return b, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return b, fmt.Errorf("read the ledger of h%d: %w", i, err)
		}
		switch {
		case l.Register != nil:
			b.nodes[l.Register.Node] = l.Register.Name
		case l.Layers != nil:
			b.Images = append(b.Images, l.Name)
		case l.Grant != nil && l.Node != "":
			p := Placement{ID: l.ID, Host: b.nodes[l.Node], Name: l.Name, Container: l.Container, Cores: cores(l.Grant.Cores), GPUs: l.Grant.GPUs}
			for _, port := range l.Grant.Ports {
				p.Ports = append(p.Ports, fmt.Sprintf("%d/%s", port.Host, port.Proto))
			}
			b.Placements = append(b.Placements, p)
		}
	}
	return b, lines.Err()
}

// cores reads "0,2-3".
func cores(list string) (all []int) {
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		from, to, _ := strings.Cut(part, "-")
		low, _ := strconv.Atoi(from)
		high, err := strconv.Atoi(to)
		if err != nil {
			high = low
		}
		for core := low; core <= high; core++ {
			all = append(all, core)
		}
	}
	return all
}

// Wrong says what is wrong with who holds what. All nodes agree, or it says so, too.
func (j *Judge) Wrong(ctx context.Context) ([]string, error) {
	books, err := j.Books(ctx, 1)
	if err != nil {
		return nil, err
	}
	have, err := j.Containers(ctx)
	if err != nil {
		return nil, err
	}
	wrong := slices.Concat(books.twice(), twiceIn(have), astray(books.Placements, have))
	if err := j.Agree(ctx); err != nil {
		wrong = append(wrong, err.Error())
	}
	return wrong, nil
}

// twice says what the ledger has given twice.
func (b Books) twice() []string {
	var h holds
	for _, p := range b.Placements {
		h.hold("the name "+p.Name, p.ID)
		for _, port := range p.Ports {
			h.hold(fmt.Sprintf("in the ledger port %s of %s", port, p.Host), p.Name)
		}
		for _, core := range p.Cores {
			h.hold(fmt.Sprintf("in the ledger core %d of %s", core, p.Host), p.Name)
		}
		for _, gpu := range p.GPUs {
			h.hold("in the ledger GPU "+gpu, p.Name)
		}
	}
	return h.wrong
}

// twiceIn says what engines gave twice, whatever the ledger says.
func twiceIn(have map[string]Container) []string {
	var h holds
	for _, id := range slices.Sorted(maps.Keys(have)) {
		c := have[id]
		if c.Placement == "" {
			continue
		}
		h.hold("the container name "+c.Name, id)
		h.hold("placement "+c.Placement, c.Name)
		for _, port := range c.Ports {
			h.hold(fmt.Sprintf("port %s of %s", port, c.Host), c.Name)
		}
	}
	return h.wrong
}

// astray says which placements have no container, and which of the cluster's containers
// no placement.
func astray(placed []Placement, have map[string]Container) (wrong []string) {
	by := map[string]Placement{}
	for _, p := range placed {
		by[p.Container] = p
		switch c := have[p.Container]; {
		case p.Container == "":
			wrong = append(wrong, fmt.Sprintf("%s is reserved on %s and was never made", p.Name, p.Host))
		case c.ID == "":
			wrong = append(wrong, fmt.Sprintf("%s is held on %s for a container that is gone", p.Name, p.Host))
		case c.Host != p.Host || c.Placement != p.ID || c.Name != p.Name:
			wrong = append(wrong, fmt.Sprintf("the ledger has %+v, the engine %+v", p, c))
		case len(p.Cores) > 0 && !slices.Equal(cores(c.Cores), p.Cores):
			wrong = append(wrong, fmt.Sprintf("%s was given cores %v and has %s", p.Name, p.Cores, c.Cores))
		case !subset(c.Ports, p.Ports):
			wrong = append(wrong, fmt.Sprintf("%s was given ports %v and has %v", p.Name, p.Ports, c.Ports))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if c := have[id]; c.Placement != "" && by[id].ID == "" {
			wrong = append(wrong, fmt.Sprintf("the engine of %s has %s of placement %s, which the ledger does not know", c.Host, c.Name, c.Placement))
		}
	}
	return wrong
}

func subset(of, all []string) bool {
	return !slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(all, s) })
}

// Missing says what a client was told of and is not there any more: containers by name and
// ID.
func Missing(told map[string]string, have map[string]Container) (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if c := have[told[name]]; c.Name != name {
			wrong = append(wrong, fmt.Sprintf("%s was acknowledged as %.12s, and is %q", name, told[name], c.Name))
		}
	}
	return wrong
}
