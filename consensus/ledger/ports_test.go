package ledger

import (
	"testing"

	"ddocker/sched"
)

func TestTheNextFreePortIsTheLowestThatNoHostHolds(t *testing.T) {
	p := newPorts()
	for number, hosts := range map[uint16]int32{100: 1, 101: 2, 103: 1, 65535: 1} {
		p.add(sched.Port{Number: number, Proto: "tcp"}, hosts)
	}
	p.add(sched.Port{Number: 101, Proto: "tcp"}, -1) // one of its two hosts
	p.add(sched.Port{Number: 103, Proto: "tcp"}, -1)
	p.add(sched.Port{Number: 100, Proto: "icmp"}, 1)
	for _, c := range []struct {
		proto      string
		from, want int
	}{
		{"tcp", 99, 99},
		{"tcp", 100, 102},
		{"tcp", 103, 103},
		{"tcp", 65535, 65536},
		{"udp", 100, 100},
		{"icmp", 100, 100},
	} {
		if got := p.next(c.proto, c.from); got != c.want {
			t.Errorf("%d/%s: got %d, want %d", c.from, c.proto, got, c.want)
		}
	}
}
