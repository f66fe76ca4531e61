package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Bounds on clients.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	stopTimeout   = time.Second
	// freshTime is how long a client's connection need not make room for his next: its
	// request may be there, and not read yet.
	freshTime = time.Second
	// strangerTimeout is how long whoever has shown nothing may stay: he has one request.
	strangerTimeout = 30 * time.Second
	// refusedTimeout is how long one too many has to read that he is.
	refusedTimeout = 2 * time.Second
	// ownDescriptors is how many an agent has open that nobody talks to.
	ownDescriptors = 32
)

// limits are how many connections there may be at once.
type limits struct {
	clients, each int // known clients, and one of them
	strangers     int // who have shown nothing yet, and who are refused
	handshakes    int // under way
}

// limitsOf says how many connections fit into so many descriptors. A client costs two:
// its own, and one on the way to an engine or to another node.
func limitsOf(descriptors int) limits {
	share := min(max((descriptors-ownDescriptors)/4, 8), 4096)
	return limits{clients: share, each: share * 3 / 4, strangers: min(max(share/4, 4), 64), handshakes: min(share, 256)}
}

// ofNodes are the limits for other nodes, who have as many in all, and each of them.
func (l limits) ofNodes() limits { return limits{clients: l.clients, each: l.clients, strangers: 1} }

// descriptors is how many this process may have.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}

// server is one way into the agent.
type server struct {
	ln      net.Listener
	handler http.Handler
	each    func(context.Context, net.Conn) context.Context // notes who is at the other end
	visits  *visits
}

// serve answers HTTP until ctx ends, and then gives the requests under way a
// second.
func (a *agent) serve(ctx context.Context, way server) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s := &http.Server{
		Handler: way.visits.handler(way.handler), Protocols: protocols, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(a.cfg.Logger.Handler(), slog.LevelDebug), ConnState: way.visits.note,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			as := c
			if watched, ok := c.(*readConn); ok {
				as = watched.Conn
			}
			ctx = way.each(ctx, as)
			source, known := a.client(ctx, as)
			return way.visits.begin(ctx, c, source, known)
		},
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(way.ln) }()
	select {
	case err := <-done:
		if ctx.Err() == nil {
			return err
		}
		return nil
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if s.Shutdown(grace) != nil {
		s.Close()
	}
	<-done
	return nil
}
