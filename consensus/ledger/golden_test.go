package ledger

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the ledger says now")

// Each file in testdata is a history: a command a line, below it, indented, its
// result and the lines of the state that it took away and added. Lines that
// begin with # are for the reader. See script_test.go for the commands.
func TestGoldenHistories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("rewrite with -update if this is right:\n%s", difference(string(want), string(got)))
			}
		})
	}
}

// play carries out the commands of a history and writes down what happens.
func play(t *testing.T, history []byte) []byte {
	s := &script{t: t, ledger: New(), at: start()}
	var out bytes.Buffer
	for lines := bufio.NewScanner(bytes.NewReader(history)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "    ") {
			continue // what happened when it was written
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		before := state(s.ledger)
		result := s.run(strings.Fields(line))
		consistent(t, s.ledger)
		for said := range strings.Lines(result + "\n" + difference(before, state(s.ledger))) {
			out.WriteString("    " + strings.TrimSuffix(said, "\n") + "\n")
		}
	}
	return out.Bytes()
}

// difference lists the lines that only one of two texts has.
func difference(old, now string) string {
	was, is := strings.Split(old, "\n"), strings.Split(now, "\n")
	var b strings.Builder
	for _, line := range was {
		if !slices.Contains(is, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	return b.String()
}

// state is the ledger in lines for a person.
func state(l *Ledger) string {
	var b strings.Builder
	set := l.Settings()
	fmt.Fprintf(&b, "settings: buffer %d cores, %d bytes; ports from %d; images on %d hosts, up to %d percent of a disk\n",
		set.Buffer.Cores, set.Buffer.Memory, set.StartPort, set.ImageReplicas, set.ImageDisk)
	for _, n := range l.Nodes() {
		h := l.Host(n.Node)
		held := describe(n, &h.Held)
		if held == "" {
			held = "nothing"
		}
		if h.Closed != "" {
			held += " (" + h.Closed + ")"
		}
		fmt.Fprintf(&b, "%s holds %s; it has cores %s, %d bytes, %d cards\n", n.Name, held, h.Cores, h.Memory, len(h.Cards))
		if t := h.Topology; len(t.Nodes)+len(t.Physical) > 0 {
			fmt.Fprintf(&b, "%s has NUMA nodes %v and physical cores %v\n", n.Name, t.Nodes, t.Physical)
		}
		for _, c := range h.Cards {
			if c.Closed != "" {
				fmt.Fprintf(&b, "%s's card %s is closed: %s\n", n.Name, c.UUID, c.Closed)
			}
		}
		if len(n.Labels) > 0 {
			fmt.Fprintf(&b, "%s has labels %v\n", n.Name, n.Labels)
		}
	}
	for _, id := range l.NodeIDs() {
		for _, p := range l.Placed(id) {
			fmt.Fprintf(&b, "placement %s\n", placementWords(l, p))
		}
	}
	for _, t := range l.Snapshot().head.Tokens {
		fmt.Fprintf(&b, "token %s: %d uses until %s\n", t.Hash, t.Uses, t.Expires.Format(time.TimeOnly))
	}
	for _, id := range l.expired {
		fmt.Fprintf(&b, "expired: %s\n", id)
	}
	imageState(&b, l)
	objectState(&b, l)
	goneState(&b, l)
	rotationState(&b, l)
	return b.String()
}

func placementWords(l *Ledger, p *Placement) string {
	g := p.Grant
	words := fmt.Sprintf("%s: %s on %s, %s,", p.ID, p.Name, l.nodes[p.Node].Name, p.Created.Format(time.TimeOnly))
	if p.Container == "" {
		words += " unconfirmed,"
	} else {
		words += " container " + p.Container + ","
	}
	if p.ImageID != "" {
		words += " from " + p.ImageID + ","
	}
	words += fmt.Sprintf(" %d bytes", g.Memory)
	if g.Shares() {
		words += fmt.Sprintf(", shares cores up to %d thousandths", g.MilliCPU)
	} else {
		words += ", cores " + g.Cores.String()
	}
	for _, uuid := range g.GPUs {
		words += ", GPU " + uuid
	}
	for _, b := range g.Ports {
		words += fmt.Sprintf(", port %d:%d/%s", b.Host, b.Container, b.Proto)
	}
	return words
}

func goneState(b *strings.Builder, l *Ledger) {
	how := map[bool]string{true: "left", false: "was removed"}
	for _, g := range l.gone {
		fmt.Fprintf(b, "node %s (%s) %s at %s by %s\n", g.Name, g.ID, how[g.Left], g.At.Format(time.TimeOnly), g.By)
	}
	for _, p := range l.Losts() {
		fmt.Fprintf(b, "lost %s: %s, container %s, with host %s, which %s at %s\n", p.Placement.ID, p.Placement.Name, p.Placement.Container, p.Host, how[p.Left], p.At.Format(time.TimeOnly))
	}
}

func imageState(b *strings.Builder, l *Ledger) {
	for _, i := range l.Images() {
		at := fmt.Sprintf("on %q at %s", l.nodeName(i.Node), i.Created.Format(time.TimeOnly))
		if i.ID == "" {
			fmt.Fprintf(b, "image %s is claimed by %s %s", i.Name, i.Claim, at)
			if i.Commit {
				b.WriteString(", for a commit")
			}
			b.WriteString("\n")
			continue
		}
		fmt.Fprintf(b, "image %s is %s: %d bytes, made %s", i.Name, i.ID, i.Size(), at)
		if i.Owner != "" {
			fmt.Fprintf(b, " by %s", i.Owner)
		}
		b.WriteString("\n")
	}
	for _, n := range l.Nodes() {
		for _, h := range n.Observed.Images {
			fmt.Fprintf(b, "%s has %s %v", n.Name, h.ID, h.Names)
			if h.Index > 0 {
				b.WriteString(", as the ledger was told")
			}
			b.WriteString("\n")
		}
		for _, h := range n.evicted {
			fmt.Fprintf(b, "%s may remove %s\n", n.Name, h.ID)
		}
	}
	for _, r := range l.removals {
		fmt.Fprintf(b, "removal of %q from %s on %v", r.Name, r.ID, r.Nodes)
		if r.Force {
			b.WriteString(", by force")
		}
		b.WriteString("\n")
	}
}
