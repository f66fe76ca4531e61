package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// shownHosts bounds how many hosts a refusal names for one reason.
const shownHosts = 4

// Misfit says why no host takes a request: every host's lack.
type Misfit struct {
	Request *Request
	Lacks   []Lack
}

// Error explains the refusal in one sentence, reasons counted, worst first.
func (m *Misfit) Error() string {
	if len(m.Lacks) == 0 {
		return "no host has joined the cluster that could take " + m.Request.String()
	}
	lacks := m.relevant()
	slices.SortStableFunc(lacks, func(a, b Lack) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Free, a.Free), cmp.Compare(a.Host, b.Host))
	})
	var reasons []string
	for len(lacks) > 0 {
		n := 1
		for n < len(lacks) && lacks[n].Kind == lacks[0].Kind {
			n++
		}
		reasons = append(reasons, reason(lacks[:n]))
		lacks = lacks[n:]
	}
	return m.refusal() + strings.Join(reasons, "; ") + m.only()
}

func (m *Misfit) refusal() string {
	if wanted := m.Request.String(); wanted != anything {
		return "no host has " + wanted + " free: "
	}
	return "no host can take " + anything + ": "
}

// only says why no other host was asked.
func (m *Misfit) only() string {
	if m.Request.HostReason != "" {
		return fmt.Sprintf(" (only %s will do: %s)", m.Request.Host, m.Request.HostReason)
	}
	var rules []string
	for _, l := range m.Lacks {
		if l.Kind != Excluded {
			for _, rule := range m.Request.Only {
				rules = append(rules, rule.Words)
			}
			break
		}
	}
	if len(rules) == 0 {
		return "" // the hosts themselves are said not to meet them
	}
	return fmt.Sprintf(" (only a host that meets %s will do)", strings.Join(rules, " and "))
}

// relevant leaves out the hosts that were not asked, unless none was.
func (m *Misfit) relevant() []Lack {
	for _, l := range m.Lacks {
		if l.Host == m.Request.Host {
			return []Lack{l}
		}
	}
	for _, unasked := range []Kind{Excluded, NotAsked} {
		asked := slices.DeleteFunc(slices.Clone(m.Lacks), func(l Lack) bool { return l.Kind == NotAsked || l.Kind == unasked })
		if len(asked) > 0 {
			return asked
		}
	}
	l := m.Lacks[0]
	l.Host = l.What
	return []Lack{l}
}

func reason(lacks []Lack) string {
	var words []string
	for _, l := range lacks[:min(len(lacks), shownHosts)] {
		words = append(words, l.String())
	}
	if more := len(lacks) - shownHosts; more > 0 {
		words = append(words, fmt.Sprintf("and %d more hosts likewise", more))
	}
	return strings.Join(words, ", ")
}

// String says what one host lacks, such as "gpu2 has 1× TITAN Xp free".
func (l Lack) String() string {
	switch l.Kind {
	case NotAsked:
		return "no host is named " + l.Host
	case Excluded:
		return l.Host + " does not meet " + l.What
	case Closed:
		return l.Host + " is " + l.What
	case TooSmall:
		if l.Free == 0 && l.What != "" {
			return l.Host + " has no " + l.What
		}
		return l.Host + " has only " + l.whole() + " in all"
	case NoCores:
		if l.What != "" {
			return fmt.Sprintf("%s has some of cores %s in use", l.Host, l.What)
		}
		return l.Host + " has " + cores(l.Free) + " free"
	case NoMemory:
		return l.Host + " has " + Bytes(l.Free) + " free"
	case NoGPU:
		words := l.Host + " has " + gpus(l.Free, l.What) + " free"
		if l.Why != "" {
			words += " (" + l.Why + ")"
		}
		return words
	case NoPort:
		return l.Host + " has no " + l.What
	case NoShared:
		return l.Host + " has no core left to share"
	}
	return l.Host
}

func (l Lack) whole() string {
	switch {
	case l.What == "memory":
		return Bytes(l.Free)
	case l.What == "" || strings.HasPrefix(l.What, "cores "):
		return cores(l.Free)
	}
	return gpus(l.Free, l.What)
}

func portWords(n uint16, proto string) string {
	if proto == "" {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("free port %d/%s", n, proto)
}
