package ledger

// firstLevel is the version of all that was written before there were levels.
const firstLevel = 4

// ownedVolumes is the level from which volumes that nobody defined have owners.
const ownedVolumes = 5

// From this level on, what is reserved on a node that is removed is lost, and what moves
// holds its old place until its old host speaks.
const nothingUnseen = 6

// since returns the lowest version that knows the command.
func since(c *Command) int {
	switch {
	case c.Raise != nil:
		return max(c.Raise.To, firstLevel+1)
	case c.ofTrust(), c.Configure != nil && c.Configure.Trusts():
		return 5
	}
	return firstLevel
}

// Since returns the version that nodes must speak before the command may be proposed.
func (c *Command) Since() int { return since(c) }

// At returns the command without what entries of the level have no words for, and which
// can be told later: nodes that read no more would not keep it, and their ledgers would
// no longer be like the others'.
func (c Command) At(level int) Command {
	if c.Register != nil && c.Register.Key != "" && level < 5 {
		r := *c.Register
		r.Key = ""
		c.Register = &r
	}
	return c
}

// Level returns the highest version that entries of the log may have. It only rises.
func (l *Ledger) Level() int { return l.level }

// Behind returns the nodes that are not known to read the version, by name. Nodes that
// do not read 5 forgot what others said of this: who is not known to read it may.
func (l *Ledger) Behind(version int) (nodes []*Node) {
	for _, h := range l.hosts {
		if n := l.nodes[h.ID]; max(n.Speaks, firstLevel) < version {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// raise does not look at what the nodes speak: whether all do is for the proposer to find
// out, and replicas need not agree on it (see Behind).
func (l *Ledger) raise(c *Raise) Result {
	if c.To > Version {
		return refuse(Invalid, "the level is to be %d, and this ddocker reads up to %d", c.To, Version)
	}
	l.level = max(l.level, c.To)
	return Result{}
}
