package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Listening is a port of this host that some process has bound.
type Listening struct {
	Port  uint16
	Proto string // tcp or udp
}

// The kernel's socket states, include/net/tcp_states.h; a UDP socket that is
// bound and not connected is in state close.
const (
	stateClose  = "07"
	stateListen = "0A"
)

// ListeningPorts returns the ports bound in this network namespace, whoever
// bound them, sorted by number: TCP sockets that listen and UDP sockets without
// a peer, of IPv4 and IPv6. proc is the directory where the proc file system
// is, "/proc". Ports that Docker publishes by packet filter alone have no
// socket and are not among them.
func ListeningPorts(proc string) ([]Listening, error) {
	var all []Listening
	for _, table := range []struct{ file, proto, state string }{
		{"tcp", "tcp", stateListen}, {"tcp6", "tcp", stateListen},
		{"udp", "udp", stateClose}, {"udp6", "udp", stateClose},
	} {
		b, err := os.ReadFile(filepath.Join(proc, "net", table.file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("read bound ports: %w", err)
		}
		ports, err := boundPorts(b, table.state)
		if err != nil {
			return nil, fmt.Errorf("parse net/%s: %w", table.file, err)
		}
		for _, port := range ports {
			all = append(all, Listening{port, table.proto})
		}
	}
	slices.SortFunc(all, func(a, b Listening) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto))
	})
	return slices.Compact(all), nil
}

// boundPorts reads one table of the kernel's: a heading, then a line a socket,
// "sl local_address rem_address st …", addresses as hex IP:hex port.
func boundPorts(table []byte, state string) ([]uint16, error) {
	var ports []uint16
	heading := true
	for line := range bytes.Lines(table) {
		if heading {
			heading = false
			continue
		}
		f := bytes.Fields(line)
		if len(f) < 4 {
			return nil, fmt.Errorf("short line %q", line)
		}
		if string(f[3]) != state {
			continue
		}
		_, hex, _ := bytes.Cut(f[1], []byte(":"))
		port, err := strconv.ParseUint(string(hex), 16, 16)
		if err != nil {
			return nil, fmt.Errorf("bad address %q: %w", f[1], err)
		}
		ports = append(ports, uint16(port))
	}
	return ports, nil
}
