// Package enginetest is a Docker Engine that lives in memory: the second
// implementer of Docker's HTTP API, for whole clusters in virtual time and for
// benchmarks.
//
//	twin := enginetest.New(enginetest.Config{NCPU: 8, Memory: 32 << 30})
//	twin.AddImage("busybox:latest")
//	pipe := enginetest.Listen()
//	go twin.Serve(ctx, pipe)
//	e, err := engine.New(engine.Config{Dial: pipe.Dial})
//
// It speaks the routes that touch what a container holds and those of images,
// with moby's own status codes and sentences; package engine's contract test
// holds it and a real engine to one table. A container runs until it is stopped,
// save for the programs echo, true, false and cat, which it really runs.
//
// Images are real: an ID is the digest of a configuration, which names the
// digests of its layers, so that they can be saved, checked and loaded elsewhere.
//
// It can be slow, hang, lie, restart and run out of disk (SetLatency, Hang,
// FailAfterSuccess, Restart, SetDisk), and as a real engine does, it carries out
// an accepted change even if the caller has gone. Violations tells what it saw
// held twice.
package enginetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config is what the engine runs on.
type Config struct {
	Name   string   // host name, "twin" when empty
	NCPU   int      // CPUs 0 to NCPU-1; 4 when zero
	Memory int64    // bytes; 16 GiB when zero
	GPUs   []string // UUIDs, in the order of their index
	// Toolkit says how GPUs are given; empty: Hook.
	Toolkit Toolkit

	// EngineVersion, API and MinAPI are what the engine says it is. Empty means
	// 20.10.24, 1.41 and 1.12.
	EngineVersion, API, MinAPI string

	// Registry is where it pulls from and pushes to. Nil is one of its own.
	Registry *Registry
}

// Twin is one in-memory engine. Its containers and images outlive its Serves.
type Twin struct {
	cfg   Config
	id    string
	start time.Time
	mux   *http.ServeMux
	tasks sync.WaitGroup // requests, and changes under way whose caller may be gone; grows only while serving

	mu         sync.Mutex // guards what follows, and all that hangs off it; never held across a wait
	serving    bool
	life       chan struct{}
	conns      map[*trackedConn]bool
	gate       chan struct{} // not nil while the engine hangs; closed by Unhang
	latency    map[Op]time.Duration
	lies       map[Op]int
	containers map[string]*box
	names      map[string]*box
	images     map[string]*image // by ID
	refs       map[string]*image // by familiar reference
	layers     map[string]*layer // by chain
	disk       int64             // bytes that one load may bring
	execs      map[string]*exec
	objects    objects
	bound      map[hostPort][]binding
	nextPort   uint16
	pids       int
	bus        bus
	toolkit    Toolkit
	violations []string
}

// New returns an engine without containers and images.
func New(cfg Config) *Twin {
	cfg.Name = cmp.Or(cfg.Name, "twin")
	cfg.NCPU = cmp.Or(cfg.NCPU, 4)
	cfg.Memory = cmp.Or(cfg.Memory, 16<<30)
	cfg.EngineVersion = cmp.Or(cfg.EngineVersion, "20.10.24")
	cfg.API = cmp.Or(cfg.API, "1.41")
	cfg.MinAPI = cmp.Or(cfg.MinAPI, "1.12")
	if cfg.Registry == nil {
		cfg.Registry = new(Registry)
	}
	t := &Twin{
		cfg: cfg, id: newID(), start: time.Now(),
		life: make(chan struct{}), conns: map[*trackedConn]bool{},
		latency: map[Op]time.Duration{}, lies: map[Op]int{},
		containers: map[string]*box{}, names: map[string]*box{},
		images: map[string]*image{}, refs: map[string]*image{}, layers: map[string]*layer{}, disk: defaultDisk,
		execs: map[string]*exec{}, objects: newObjects(), toolkit: cfg.Toolkit,
		bound: map[hostPort][]binding{}, nextPort: firstEphemeral,
	}
	t.mux = t.routes()
	return t
}

// Serve answers on l until ctx ends, which is the engine's shutdown: changes
// under way are dropped, connections cut, l closed, containers kept. It returns
// when all that it started has ended, with nil, or with what l failed of. One
// Serve runs at a time.
func (t *Twin) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: http.HandlerFunc(t.serveHTTP), ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	t.serve(true)
	err := server.Serve(&trackingListener{l, t})
	t.serve(false)
	t.Restart()
	t.tasks.Wait()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve twin: %w", err)
}

func (t *Twin) serve(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serving = on
}

// Violations returns, oldest first, every port, core and GPU that two running
// containers held at once.
func (t *Twin) Violations() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.violations)
}

func newID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
