// Package engine is this host's Docker Engine, as far as the cluster needs it:
//
//	e, err := engine.New(engine.Config{Host: "unix:///var/run/docker.sock"})
//	room, err := e.Capacity(ctx)       // cores and memory it may give away
//	held, err := e.Containers(ctx)     // what every container holds of them
//	status, reply, err := e.Create(ctx, "web", "1.41", body)
//	err = e.LoadImage(ctx, archive)    // as docker load
//
// An Engine is a caller of the engine's HTTP API and keeps no truth of its own.
// Engines from 20.10 to 29 are spoken to in the newest API version that both
// sides know. Requests of the cluster's clients pass through RoundTripper as
// they are.
//
// Every method that talks to the engine ends by a deadline of its own, or
// earlier with its context; one that carries an image ends when the transfer
// stands still. An Engine may be used by many goroutines at once.
package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout   = 5 * time.Second
	pingTimeout   = 2 * time.Second
	callTimeout   = 30 * time.Second // one question about the engine's state
	createTimeout = 10 * time.Minute // a create on a busy disk; see Create
	commitTimeout = 30 * time.Minute // a commit writes all that the container has changed
	changeTimeout = 2 * time.Minute  // a removal waits for the container to die
	idleTimeout   = 90 * time.Second
	writeBuffer   = 128 << 10 // bytes
	readBuffer    = 32 << 10  // bytes
	maxIdle       = 32
)

// Config says where the engine is.
type Config struct {
	// Host is the engine's address: unix:///var/run/docker.sock, which is also
	// what an empty Host means, or tcp://host:port without TLS.
	Host string
	// Dial, when set, opens the connections instead of Host's own dialer.
	Dial func(ctx context.Context) (net.Conn, error)
	// Logger hears of engine upgrades. Nil is silence.
	Logger *slog.Logger
}

// Engine is a connection pool to one Docker Engine.
type Engine struct {
	dial      func(ctx context.Context) (net.Conn, error)
	local     bool // dial goes to a unix socket of this machine
	transport *http.Transport
	log       *slog.Logger
	root      string // of /proc and /sys; "/" outside tests
	inspected inspectCache

	mu      sync.Mutex // guards what follows
	dialect *dialect   // nil until the engine has told its versions
	tag     tag        // of the newest reply
}

// New returns an Engine for cfg. It does not touch the network: an engine that
// is down now may be up later. The error is a Host that cannot be understood.
func New(cfg Config) (*Engine, error) {
	dial, local := cfg.Dial, false
	if dial == nil {
		host := cmp.Or(cfg.Host, "unix:///var/run/docker.sock")
		var err error
		if dial, err = dialer(host); err != nil {
			return nil, err
		}
		local = strings.HasPrefix(host, "unix://")
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{dial: dial, local: local, log: log, root: "/"}
	e.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return dial(ctx)
		},
		Protocols:           http1(),
		DisableCompression:  true,
		WriteBufferSize:     writeBuffer, // archives go in by it
		ReadBufferSize:      readBuffer,  // and come out
		MaxIdleConns:        maxIdle,
		MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout:     idleTimeout,
	}
	return e, nil
}

// Close closes the idle connections. Calls under way go on, and the Engine may
// still be used.
func (e *Engine) Close() { e.transport.CloseIdleConnections() }

func dialer(host string) (func(context.Context) (net.Conn, error), error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("parse engine address: %w", err)
	}
	network, addr := u.Scheme, u.Host
	switch {
	case network == "unix" && u.Host == "" && u.Path != "":
		addr = u.Path
	case network == "tcp" && u.Port() != "":
	default:
		return nil, fmt.Errorf("parse engine address %q: want unix:///path or tcp://host:port", host)
	}
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}, nil
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
