package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Restore replaces the ledger's state by a snapshot's. On an error the state is
// as it was. What a snapshot claims of itself is not believed: a damaged one is
// refused, and costs no more memory than the bytes it has. The error for one of a newer
// version wraps a Refusal of code Newer.
func (l *Ledger) Restore(r io.Reader) error {
	in := json.NewDecoder(bufio.NewReaderSize(r, 64<<10))
	var h head
	if err := in.Decode(&h); err != nil {
		return fmt.Errorf("read ledger snapshot: %w", err)
	}
	if h.Version > Version {
		return fmt.Errorf("read ledger snapshot: %w", newer("it", h.Version))
	}
	if h.Version < 1 {
		return errors.New("read ledger snapshot: it has no version")
	}
	fresh := New()
	if err := fresh.readHead(&h); err != nil {
		return fmt.Errorf("read ledger snapshot: %w", err)
	}
	if err := fresh.readRecords(in, &h); err != nil {
		return fmt.Errorf("read ledger snapshot: %w", err)
	}
	*l = *fresh
	return nil
}

func (l *Ledger) readHead(h *head) error {
	if h.Nodes < 0 || h.Placements < 0 || h.Memos < 0 || h.Images < 0 || h.Objects < 0 {
		return errors.New("its head counts fewer than nothing")
	}
	if refused := l.configure(&h.Settings).Refusal; refused != nil {
		return refused
	}
	l.index, l.expired, l.leftovers = h.Index, newest(h.Expired), h.Leftovers
	for _, r := range h.Removals {
		r.Nodes = slices.Compact(slices.Sorted(slices.Values(r.Nodes)))
		l.addRemoval(r)
	}
	l.level, l.lost = max(h.Version, firstLevel), h.Lost
	if l.rotations, l.spilled = h.Rotations, h.Spilled; l.tangled() {
		return errors.New("two rotations of one secret are under way in it")
	}
	for _, u := range h.Users {
		if u == nil || u.Name == "" || l.users[u.Name] != nil {
			return errors.New("a user is in it twice, or has no name")
		}
		l.setUser(nil, u)
	}
	for _, t := range h.Tokens {
		l.tokens[t.Hash] = t
	}
	return nil
}

func (l *Ledger) readRecords(in *json.Decoder, h *head) error {
	for range h.Nodes {
		if err := l.readNode(in); err != nil {
			return err
		}
	}
	for range h.Placements {
		if err := l.readPlacement(in); err != nil {
			return err
		}
	}
	for range h.Memos {
		if err := l.readMemo(in); err != nil {
			return err
		}
	}
	for range h.Images {
		if err := l.readImage(in); err != nil {
			return err
		}
	}
	for range h.Objects {
		if err := l.readObject(in); err != nil {
			return err
		}
	}
	l.gone = h.Gone
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows than its head counts")
	}
	return nil
}

func (l *Ledger) readNode(in *json.Decoder) error {
	var r nodeRecord
	if err := in.Decode(&r); err != nil {
		return err
	}
	if l.nodes[r.Register.Node] != nil {
		return fmt.Errorf("node %s is in it twice", r.Register.Node)
	}
	if refused := l.register(&r.Register).Refusal; refused != nil {
		return refused
	}
	n := *l.nodes[r.Register.Node]
	n.Observed, n.evicted, n.Drained, n.Labels, n.Vote = r.Observed, r.Evicted, r.Drained, r.Labels, r.Vote
	l.put(&n)
	l.setHoldings(n.Node, sortHoldings(r.Observed.Images))
	return nil
}

func (l *Ledger) readPlacement(in *json.Decoder) error {
	var p Placement
	if err := in.Decode(&p); err != nil {
		return err
	}
	n := l.nodes[p.Node]
	switch {
	case n == nil:
		return fmt.Errorf("placement %s is on the unknown node %s", p.ID, p.Node)
	case p.ID == "" || p.Name == "":
		return fmt.Errorf("placement %q has no ID or no name", p.ID)
	case l.placements[p.ID] != nil || l.names[p.Name] != "":
		return fmt.Errorf("placement %s or its name %s is in it twice", p.ID, p.Name)
	}
	l.hold(n, &p)
	return nil
}

func (l *Ledger) readMemo(in *json.Decoder) error {
	var m memo
	if err := in.Decode(&m); err != nil {
		return err
	}
	if _, ok := l.memos.byID[m.ID]; ok || m.ID == "" {
		return fmt.Errorf("the result of request %q is in it twice, or nobody's", m.ID)
	}
	l.memos.add(m)
	return nil
}

func (l *Ledger) readImage(in *json.Decoder) error {
	var i Image
	if err := in.Decode(&i); err != nil {
		return err
	}
	if !exactName(i.Name) || l.images[i.Name] != nil {
		return fmt.Errorf("image %q is in it twice, or has no name", i.Name)
	}
	if (i.ID == "") == (i.Claim == "") {
		return fmt.Errorf("image %s is neither made nor being made", i.Name)
	}
	if l.images[i.Name] = &i; i.ID != "" {
		l.addName(&i)
	}
	return nil
}

func (l *Ledger) readObject(in *json.Decoder) error {
	var o Object
	if err := in.Decode(&o); err != nil {
		return err
	}
	if o.Name == "" || l.objects[o.key()] != nil {
		return fmt.Errorf("%s %q is in it twice, or has no name", o.Kind, o.Name)
	}
	l.objects[o.key()] = &o
	return nil
}
