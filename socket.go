package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// socketGroup may use the cluster from this machine without being root.
const socketGroup = "ddocker"

// listenSocket opens the socket of local clients: for root and the group
// ddocker, if there is one. What a dead agent left there is replaced; a living
// one is not.
func listenSocket(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("another agent serves %s: give this one another --socket, or stop that one", path)
	}
	if old, err := os.Lstat(path); err == nil && old.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("--socket %s: there is something else than a socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	if g, err := user.LookupGroup(socketGroup); err == nil {
		gid, err := strconv.Atoi(g.Gid)
		if err == nil {
			err = os.Chown(path, -1, gid)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("give %s to group %s: %w", path, socketGroup, err), ln.Close())
		}
	}
	return ln, nil
}

// callerKey is the context key of the number of the local user who sent a request.
type callerKey struct{}

// withCaller notes who is at the other end of a unix socket.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, strconv.Itoa(int(cred.Uid)))
}

// caller names who sent a request: a local user, or the name in a certificate.
func caller(r *http.Request) string {
	if uid, ok := r.Context().Value(callerKey{}).(string); ok {
		if u, err := user.LookupId(uid); err == nil {
			return u.Username
		}
		return uid
	}
	if r.TLS != nil && peerOf(r.Context()) != "" {
		return r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return ""
}
