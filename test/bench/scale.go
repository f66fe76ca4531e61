package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"

	"ddocker/api"
	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/engine/enginetest"
	"ddocker/node/nodetest"
	"ddocker/sched"
)

const (
	manyHosts = 200
	perHost   = 20
	// slowList is what a list over all of them may take, in ms.
	slowList = 150
)

// fleet is the API of one node among many, whose engines are in memory. Engines and
// API share this process and this machine, which a real fleet does not.
type fleet struct {
	api   *api.API
	log   *nodetest.Replica
	hosts []*mocked
	gpus  int // on each host
	end   context.CancelFunc
	all   sync.WaitGroup
}

// mocked is one host of the fleet.
type mocked struct {
	id, name string
	twin     *enginetest.Twin
	engine   *engine.Engine
	asked    atomic.Int64
	ready    atomic.Pointer[[]byte] // an answer to give instead of asking
	agent    http.Handler           // to ask instead of the engine, if there is one
}

// RoundTrip asks the engine as the host's agent would.
func (s *mocked) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	if ready := s.ready.Load(); ready != nil {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(*ready)), Request: r}, nil
	}
	if s.agent != nil {
		w := httptest.NewRecorder()
		s.agent.ServeHTTP(w, r)
		return w.Result(), r.Context().Err()
	}
	return s.engine.RoundTripper().RoundTrip(r)
}

// newFleet raises the hosts with so many GPUs on each.
func newFleet(ctx context.Context, gpus int) (f *fleet, err error) {
	f = &fleet{log: nodetest.NewLog().Replica(), gpus: gpus}
	ctx, f.end = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	byID := map[string]*mocked{}
	for i := range manyHosts {
		s := &mocked{id: fmt.Sprintf("id-%03d", i), name: fmt.Sprintf("gpu%03d", i)}
		s.twin = enginetest.New(enginetest.Config{Name: s.name, NCPU: 64, Memory: 1 << 40})
		s.twin.AddImage(busybox)
		pipe := enginetest.Listen()
		f.all.Go(func() { s.twin.Serve(ctx, pipe) })
		if s.engine, err = engine.New(engine.Config{Dial: func(ctx context.Context) (net.Conn, error) { return pipe.Dial(ctx) }}); err != nil {
			return f, err
		}
		f.hosts, byID[s.id] = append(f.hosts, s), s
	}
	quiet := slog.New(slog.DiscardHandler)
	f.api = api.New(api.Config{
		Self: f.hosts[0].id, Name: f.hosts[0].name, Version: "bench", Log: f.log, Engine: f.hosts[0].engine, Logger: quiet,
		Peer: func(id string) http.RoundTripper { return byID[id] }, Alive: func(string) bool { return true },
		EngineImage: func(_ context.Context, id string) string { return id }, GPUs: f.hosts[0].state(gpus),
	})
	f.all.Go(func() { f.api.Run(ctx) })
	return f, f.fill(ctx)
}

func (f *fleet) stop() {
	f.end()
	for _, s := range f.hosts {
		s.twin.Unhang()
		if s.engine != nil {
			s.engine.Close()
		}
	}
	f.all.Wait()
}

// fill makes the containers, and writes them into the ledger.
func (f *fleet) fill(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(runtime.NumCPU())
	for _, s := range f.hosts {
		all.Go(func() error { return f.fillHost(ctx, s) })
	}
	return all.Wait()
}

func (f *fleet) fillHost(ctx context.Context, s *mocked) error {
	cores := make([]int, 64)
	for i := range cores {
		cores[i] = i
	}
	err := f.propose(ctx, ledger.Command{Register: &ledger.Register{
		Node: s.id, Name: s.name, Address: s.id + ":7000", Capacity: ledger.Capacity{Cores: sched.CPUs(cores...), Memory: 1 << 40, Cards: s.cards(f.gpus)},
	}})
	if err != nil {
		return err
	}
	docker, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: s.engine.RoundTripper()}), client.WithVersion("1.41"))
	if err != nil {
		return err
	}
	for i := range perHost {
		name := fmt.Sprintf("job-%s-%d", s.name, i)
		made, err := docker.ContainerCreate(ctx, sleeper(s.name), nil, nil, nil, name)
		if err == nil {
			err = docker.ContainerStart(ctx, made.ID, container.StartOptions{})
		}
		if err == nil {
			err = f.propose(ctx, ledger.Command{Reserve: &ledger.Reserve{
				Placement: name, Name: name, Image: busybox, Owner: "alice", Candidates: []string{s.id},
				Request: sched.Request{GPUs: make([]sched.GPUWish, min(1, max(0, f.gpus-i)))},
			}})
		}
		if err == nil {
			err = f.propose(ctx, ledger.Command{Confirm: &ledger.Confirm{Placement: name, Container: made.ID}})
		}
		if err != nil {
			return fmt.Errorf("fill %s: %w", s.name, err)
		}
	}
	return nil
}

func (f *fleet) propose(ctx context.Context, c ledger.Command) error {
	result, _, err := f.log.Propose(ctx, c)
	if err == nil && result.Refusal != nil {
		err = result.Refusal
	}
	return err
}

// list asks the API and checks how many rows there are, by what each has once.
func (f *fleet) list(took *sample, path, each string, rows int) error {
	w := httptest.NewRecorder()
	began := time.Now()
	f.api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	took.add(time.Since(began))
	if n := bytes.Count(w.Body.Bytes(), []byte(each)); n != rows || w.Code != http.StatusOK {
		return fmt.Errorf("GET %s: %d, %d rows, not %d: %.200s", path, w.Code, n, rows, w.Body.String())
	}
	return nil
}

// ps is the list of all containers.
func (f *fleet) ps(took *sample) error {
	return f.list(took, "/v1.41/containers/json?all=1", `"Names":`, manyHosts*perHost)
}

// scale measures lists over many hosts.
func (b *bench) scale(ctx context.Context) error {
	b.say("measuring scale")
	f, err := newFleet(ctx, 0)
	if err != nil {
		return err
	}
	defer f.stop()
	held, err := b.listed("docker ps -a", f.ps)
	if err != nil {
		return err
	}
	if _, err := b.listed("docker images", func(took *sample) error {
		return f.list(took, "/v1.41/images/json", `"RepoTags":`, 1)
	}); err != nil {
		return err
	}
	if _, err := b.listed("docker network ls", func(took *sample) error {
		return f.list(took, "/v1.41/networks", `"Scope":`, 3)
	}); err != nil {
		return err
	}
	if err := b.oneHung(f, held); err != nil {
		return err
	}
	for _, s := range f.hosts[1:] {
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	_, err = b.listed("  the asking node's part of docker ps -a", f.ps)
	return err
}

// prepare has the host answer from now on without its engine.
func (s *mocked) prepare(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/v1.41/containers/json?all=1", nil)
	if err != nil {
		return err
	}
	resp, err := s.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	s.ready.Store(&body)
	return err
}

// listed measures a list, and what is allocated for it.
func (b *bench) listed(what string, list func(*sample) error) (sample, error) {
	var took sample
	garbage := sample{unit: "MB"}
	for i := range 3*b.n + 1 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := list(&took); err != nil {
			return took, err
		}
		runtime.ReadMemStats(&after)
		garbage.values = append(garbage.values, float64(after.TotalAlloc-before.TotalAlloc)/1e6)
		if i == 0 {
			took, garbage.values = sample{}, nil
		}
	}
	rss, err := memory(fmt.Sprint(os.Getpid()), "VmRSS")
	b.limited(fmt.Sprintf("%s, %d hosts × %d containers", what, manyHosts, perHost), took.median(), "%.0f ms", slowList,
		fmt.Sprintf("%s; %s allocated a list, the process with all engines holds %d MB", took, garbage, rss/1e6))
	return took, err
}

// oneHung measures the first list after an engine has hung, and those after it.
func (b *bench) oneHung(f *fleet, healthy sample) error {
	first, later := sample{}, sample{}
	hung := f.hosts[manyHosts/2]
	for range b.n {
		hung.twin.Hang()
		if err := f.ps(&first); err != nil {
			return err
		}
		for range 3 {
			if err := f.ps(&later); err != nil {
				return err
			}
		}
		hung.twin.Unhang()
		if err := f.found(hung); err != nil {
			return err
		}
	}
	b.limited("  one host hung: the first list, over a healthy one", first.median()-healthy.median(), "%.0f ms", 1000, first.String())
	b.limited("  one host hung: all further lists, over a healthy one", later.median()-healthy.median(), "%.0f ms", slowList, later.String())
	return nil
}

// found returns when the host is asked again.
func (f *fleet) found(s *mocked) error {
	end := time.Now().Add(time.Minute)
	for time.Now().Before(end) {
		before := s.asked.Load()
		if err := f.ps(new(sample)); err != nil {
			return err
		}
		if s.asked.Load() > before {
			return nil
		}
	}
	return errors.New("a host that answers again is not asked")
}
