package ledger

import "slices"

// firstLevel is the version of all that was written before there were levels.
const firstLevel = 4

// ownedVolumes is the level from which volumes that nobody defined have owners.
const ownedVolumes = 5

// since returns the lowest version that knows the command.
func since(c *Command) int {
	if c.ofTrust() || c.Configure != nil && c.Configure.Trusts() {
		return 5
	}
	return firstLevel
}

// Since returns the version that nodes must speak before the command may be proposed.
func (c *Command) Since() int { return since(c) }

// Level returns the highest version that entries of the log may have. It only rises.
func (l *Ledger) Level() int { return l.level }

// Behind returns the names of the nodes that do not read the version, by name.
func (l *Ledger) Behind(version int) (names []string) {
	for _, h := range l.hosts {
		if l.nodes[h.ID].speaks() < version {
			names = append(names, h.Name)
		}
	}
	return names
}

func (n *Node) speaks() int { return max(n.Speaks, firstLevel) }

func (l *Ledger) raise(c *Raise) Result {
	if behind := l.Behind(c.To); len(behind) > 0 {
		return refuse(Invalid, "the cluster cannot use version %d of its log before all hosts read it: upgrade ddocker on %s", c.To, list(behind))
	}
	l.level = max(l.level, c.To)
	return Result{}
}

// list names at most maxNamed of the hosts.
func list(names []string) string { return joinNames(slices.Clone(names)) }
