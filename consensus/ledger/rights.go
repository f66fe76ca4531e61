package ledger

// MayPropose refuses what another node says and is not for it to say: of a machine, its
// engine and its containers only the node itself knows. What users ask for any node may
// bring, for they ask any. Nor may a node have entries written that others do not read.
//
// It is for the leader to ask, before the command is in the log.
func (l *Ledger) MayPropose(from string, c *Command) *Refusal {
	if need := max(c.Version, since(c)); need > l.level {
		return &Refusal{Invalid, "node " + l.nodeName(from) + " proposed what not all nodes read"}
	}
	nodes, rest := l.speakers(withoutCommon(*c))
	if rest != (Command{}) || *c == (Command{Version: c.Version, ID: c.ID}) {
		return &Refusal{Invalid, "node " + l.nodeName(from) + " proposed what is not for nodes to propose"}
	}
	for _, node := range nodes {
		if node != from {
			return &Refusal{Invalid, "node " + l.nodeName(from) + " proposed what only node " + l.nodeName(node) + " can know"}
		}
	}
	return nil
}

// withoutCommon is the command without the verbs that any node may bring.
func withoutCommon(c Command) Command {
	c.Version, c.ID = 0, ""
	c.Reserve, c.Rename, c.Move, c.Attach, c.Forget = nil, nil, nil, nil, nil
	c.Configure, c.Drain, c.LabelNode, c.Vote, c.Raise = nil, nil, nil, nil, nil
	c.AddToken, c.UseToken, c.Revoke = nil, nil, nil
	c.AddUser, c.ChangeUser, c.RemoveUser, c.AddKey = nil, nil, nil, nil
	c.Claim, c.Unclaim, c.Unname, c.Define, c.Undefine = nil, nil, nil, nil, nil
	c.Rotate, c.Advance = nil, nil // the leader's, which may have changed since
	if c.Release != nil && c.Release.Expired && c.Release.Node == "" {
		c.Release = nil // whoever reserved it gives it up, and the ledger sees that it has no container
	}
	if c.Remove != nil && !c.Remove.Left {
		c.Remove = nil
	}
	if c.NameImage != nil && c.NameImage.Image.Node == "" {
		c.NameImage = nil // some node was seen to have it
	}
	return c
}

// speakers returns the nodes that alone may say what the command's verbs say, and what
// remains of it.
func (l *Ledger) speakers(c Command) (nodes []string, rest Command) {
	says := func(node string) { nodes = append(nodes, node) }
	if r := c.Register; r != nil {
		says(r.Node)
	}
	if o := c.Observe; o != nil {
		says(o.Node)
	}
	if r := c.Remove; r != nil {
		says(r.Node)
	}
	c.Register, c.Observe, c.Remove = nil, nil, nil
	if o := c.Confirm; o != nil {
		nodes = append(nodes, l.keepers(o.Placement, o.Node)...)
	}
	if r := c.Release; r != nil {
		nodes = append(nodes, l.keepers(r.Placement, r.Node)...)
	}
	if o := c.Limit; o != nil {
		nodes = append(nodes, l.keepers(o.Placement, "")...)
	}
	c.Confirm, c.Release, c.Limit = nil, nil, nil
	if i := c.NameImage; i != nil {
		says(i.Image.Node)
	}
	if m := c.Merge; m != nil {
		says(m.Node)
	}
	if e := c.Evict; e != nil {
		says(e.Node)
	}
	c.NameImage, c.Merge, c.Evict = nil, nil, nil
	if m := c.Made; m != nil && !l.news(m) {
		says(m.Node)
	}
	if u := c.Unmade; u != nil {
		says(u.Node)
	}
	c.Made, c.Unmade = nil, nil
	return nodes, c
}

// keepers returns the holder of a placement, or none where it is not known; a node that
// is named is meant in any case.
func (l *Ledger) keepers(placement, node string) []string {
	if node != "" {
		return []string{node}
	}
	if p := l.placements[placement]; p != nil {
		return []string{p.Node}
	}
	return nil
}

// news says whether that an engine made an object contradicts nothing. The node through
// which somebody had it made tells of it, where the engine may be another's.
func (l *Ledger) news(c *Made) bool {
	o := l.objects[thing{c.Kind, c.Name}]
	if o == nil || c.Found {
		return o == nil
	}
	i, has := o.Instance(c.Node)
	return !has || i.ID == c.ID // whether it was found there is known to who had it made
}
