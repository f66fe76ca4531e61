package engine

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is the engine's process on this machine, read from the file system
// under root. A pid of 0 is no process: all it is asked is answered with nothing.
type process struct {
	root string
	pid  int
}

// process finds the process that answers on the engine's unix socket.
func (e *Engine) process(ctx context.Context) process {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := e.dial(ctx)
	if err != nil {
		return process{}
	}
	defer conn.Close()
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return process{}
	}
	return daemon(e.root, peer(local))
}

// peer returns the pid of the process that opened the socket to listen.
func peer(conn *net.UnixConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil {
		return 0
	}
	return pid
}

// daemon returns the engine's process behind a socket that pid opened. Under
// systemd's socket activation that is systemd; the engine is then the one
// dockerd there is. Among several there is no telling.
func daemon(root string, pid int) process {
	if pid == 0 || command(root, strconv.Itoa(pid)) == "dockerd" {
		return process{root, pid}
	}
	entries, err := os.ReadDir(filepath.Join(root, "proc"))
	if err != nil {
		return process{}
	}
	var found []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && command(root, entry.Name()) == "dockerd" {
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		return process{}
	}
	return process{root, found[0]}
}

func command(root, pid string) string {
	b, err := os.ReadFile(filepath.Join(root, "proc", pid, "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (p process) read(name string) []byte {
	if p.pid == 0 {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(p.root, "proc", strconv.Itoa(p.pid), name))
	if err != nil {
		return nil
	}
	return b
}

// cores returns the CPUs that the process may run on and that are online, or
// nil when either cannot be read.
func (p process) cores() []int {
	var allowed []int
	for line := range bytes.Lines(p.read("status")) {
		if list, ok := bytes.CutPrefix(line, []byte("Cpus_allowed_list:")); ok {
			allowed, _ = parseCPUs(string(list)) // an unreadable list is no list
		}
	}
	b, err := os.ReadFile(filepath.Join(p.root, "sys/devices/system/cpu/online"))
	if err != nil {
		return nil
	}
	online, err := parseCPUs(string(b))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(allowed, func(id int) bool { return !slices.Contains(online, id) })
}
