package ledger

import "ddocker/sched"

// ports counts, by protocol and number, the hosts of the cluster that hold a
// port, so that the next free one is found by a walk along an array: with ten
// thousand placements it is far from the first. Protocols that the cluster
// grants no ports of are not counted.
type ports map[string]*portCounts

type portCounts [1 << 16]int32

func newPorts() ports { return ports{"tcp": nil, "udp": nil, "sctp": nil} }

// add counts n more hosts as holders of the port.
func (p ports) add(port sched.Port, n int32) {
	counts, granted := p[port.Proto]
	if !granted {
		return
	}
	if counts == nil {
		counts = new(portCounts)
		p[port.Proto] = counts
	}
	counts[port.Number] += n
}

// count returns how many hosts hold the port.
func (p ports) count(port sched.Port) int {
	if counts := p[port.Proto]; counts != nil {
		return int(counts[port.Number])
	}
	return 0
}

// next returns the lowest port from from up that no host holds, above 65535 if
// there is none: the ports that the cluster chooses are unique in all of it.
func (p ports) next(proto string, from int) int {
	counts := p[proto]
	for counts != nil && from < len(counts) && counts[from] > 0 {
		from++
	}
	return from
}
