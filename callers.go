package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"ddocker/api"
	"ddocker/consensus/ledger"
)

// root is who may do everything on a machine, and so in the cluster.
const root = "root"

// localKey is the context key of the local user at the other end of a socket.
type localKey struct{}

// withLocal notes who is at the other end of a socket of this machine. A user's name
// is asked for when it is needed first, by nobody who would hold up others.
func (a *agent) withLocal(ctx context.Context, c net.Conn) context.Context {
	uid, err := a.cfg.peerUser(c)
	return context.WithValue(ctx, localKey{}, sync.OnceValues(func() (api.Caller, error) {
		if err != nil {
			return api.Caller{}, fmt.Errorf("ask who is at the other end of the socket: %w", err)
		}
		if uid == 0 {
			return api.Caller{Name: root, From: "socket"}, nil
		}
		who := api.Caller{Name: strconv.FormatUint(uint64(uid), 10), From: "socket"}
		if u, err := user.LookupId(who.Name); err == nil && u.Username != root {
			who.Name = u.Username
		}
		return who, nil
	}))
}

// peerUser tells the number of the user at the other end of a unix socket.
func peerUser(c net.Conn) (uid uint32, err error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%T is no unix socket", c)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var fault error
	if err := raw.Control(func(fd uintptr) {
		cred, fault = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || fault != nil {
		return 0, errors.Join(err, fault)
	}
	return cred.Uid, nil
}

// caller says who sends a request: a local user, or the holder of a certificate.
func (a *agent) caller(r *http.Request) (api.Caller, error) {
	if local, ok := r.Context().Value(localKey{}).(func() (api.Caller, error)); ok {
		who, err := local()
		a.log.View(func(l *ledger.Ledger) { who.Role = l.RoleOf(who.Name) })
		return who, err
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	peer := callingPeer(r.Context())
	if peer.Node != "" {
		return a.nodeCaller(peer.Node, from)
	}
	return a.userCaller(peer.Key, from)
}

// nodeCaller is root of a machine of the cluster, who shows the machine's certificate.
// What root owns is one, whichever machine it is on.
func (a *agent) nodeCaller(id, from string) (who api.Caller, err error) {
	who = api.Caller{Name: root, Role: ledger.Admin, From: from}
	a.log.View(func(l *ledger.Ledger) {
		if gone := l.GoneNode(id); gone != nil {
			err = fmt.Errorf("host %s was removed from the cluster: its certificate is good for nothing", gone.Name)
		} else if n := l.Node(id); n != nil {
			who.From = n.Name + " (" + from + ")"
		} else {
			err = errors.New("the host whose certificate is shown has not registered with the cluster: try again in a moment")
		}
	})
	return who, err
}

// userCaller is the user for whom the key of a certificate speaks.
func (a *agent) userCaller(key, from string) (who api.Caller, err error) {
	err = errors.New(`a client certificate of this cluster is needed, which an administrator gives with "ddocker user add": see "Remote clients" in the README`)
	a.log.View(func(l *ledger.Ledger) {
		if u := l.UserByKey(key, time.Now()); u != nil {
			who, err = api.Caller{Name: u.Name, Role: u.Role, From: from}, nil
		}
	})
	return who, err
}
