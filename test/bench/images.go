package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/image"
)

// heavyRounds is how often an image of hundreds of megabytes is moved.
const heavyRounds = 5

// images measures how an image comes from one host to others, against docker save |
// docker load between two plain engines.
func (b *bench) images(ctx context.Context, c *cluster) error {
	lower, err := newLayer(1, 317e6)
	if err != nil {
		return err
	}
	upper, err := newLayer(2, 283e6)
	if err != nil {
		return err
	}
	base := picture{"bench-base:latest", []layer{lower, upper}}
	m, err := newMoves(ctx, c)
	if err != nil {
		return err
	}
	b.say("moving %d MB from nothing", base.moved()/1e6)
	if err := b.fromNothing(ctx, m, base); err != nil {
		return err
	}
	b.say("moving 10 MB onto a held base")
	if err := b.onBase(ctx, m, base); err != nil {
		return err
	}
	return b.commit(ctx, m)
}

// fromNothing moves the image to hosts that have nothing of it. All have it in the end.
func (b *bench) fromNothing(ctx context.Context, m *moves, base picture) error {
	if err := errors.Join(m.source().take(ctx, base, 0), m.c.plain[0].take(ctx, base, 0)); err != nil {
		return err
	}
	var ours, both, plain sample
	cpu, peak := sample{unit: "s"}, sample{unit: "MB"}
	for i := range heavyRounds {
		if i > 0 {
			if err := m.again(ctx, base); err != nil {
				return err
			}
			if _, err := m.c.plain[1].ImageRemove(ctx, base.name, image.RemoveOptions{}); err != nil {
				return err
			}
		}
		one, err := m.bring(ctx, base.name, m.c.agents[1])
		if err != nil {
			return err
		}
		ours.add(one.took)
		cpu.values = append(cpu.values, one.cpu.Seconds())
		peak.values = append(peak.values, float64(one.peak)/1e6)
		if err := m.again(ctx, base); err != nil {
			return err
		}
		two, err := m.bring(ctx, base.name, m.c.agents[1:]...)
		if err != nil {
			return err
		}
		both.add(two.took)
		if err := m.plain(ctx, &plain, base.name); err != nil {
			return err
		}
	}
	b.ratio("image, 600 MB from nothing ÷ docker save | docker load", ours, plain, 0.7)
	b.limited("image, 600 MB from nothing: CPU of the source's engine, the most", cpu.quantile(1), "%.2f s", 0.1, cpu.String())
	b.limited("image, 600 MB from nothing: peak memory of the agents, the most", peak.quantile(1), "%.1f MB", 64, peak.String())
	b.ratio("  to two hosts at once ÷ to one", both, ours, 0)
	return nil
}

// onBase moves images whose lower layers are held, each new.
func (b *bench) onBase(ctx context.Context, m *moves, base picture) error {
	var ours, plain, floor sample
	wire := sample{unit: "×"}
	for i := range b.n + 1 {
		top, err := newLayer(byte(100+i), 10e6)
		if err != nil {
			return err
		}
		p := picture{fmt.Sprintf("bench-top:%d", i), append(slices.Clip(base.layers), top)}
		held := len(base.layers)
		if err := m.source().take(ctx, p, held); err != nil {
			return err
		}
		syscall.Sync()
		if err := timed(&floor, func() error { return m.c.plain[0].take(ctx, p, held) }); err != nil {
			return err
		}
		one, err := m.bring(ctx, p.name, m.c.agents[1])
		if err == nil {
			err = m.plain(ctx, &plain, p.name)
		}
		if err != nil {
			return err
		}
		ours.add(one.took)
		wire.values = append(wire.values, float64(one.wire)/float64(top.moved))
		for _, s := range []*site{m.source(), m.c.plain[0], m.c.plain[1]} {
			if _, err := s.ImageRemove(ctx, p.name, image.RemoveOptions{}); err != nil {
				return fmt.Errorf("remove %s through %s: %w", p.name, s.name, err)
			}
		}
		if i == 0 { // to warm up
			ours, plain, floor, wire.values = sample{}, sample{}, sample{}, nil
		}
	}
	b.limited("image, 10 MB on a held base: bytes over the wire ÷ missing, the most", wire.quantile(1), "%.3f×", 1.02, wire.String())
	b.atLeast("image, 10 MB on a held base: docker save | docker load ÷ its time", plain.median()/ours.median(), "%.1f×", 20, fmt.Sprintf("%s ÷ %s", plain, ours))
	b.ratio("  its time ÷ docker load of the 10 MB alone", ours, floor, 0)
	return nil
}

// moves brings images from the cluster's first agent to its others.
type moves struct {
	c      *cluster
	engine string   // the process of the source's engine
	agents []string // the agents' processes
}

// newMoves has the cluster make no copies by itself.
func newMoves(ctx context.Context, c *cluster) (*moves, error) {
	m := &moves{c: c}
	var err error
	if m.agents, err = c.processes(); err != nil {
		return nil, err
	}
	if m.engine, err = c.engineProcess(m.source().name); err != nil {
		return nil, err
	}
	return m, m.source().oneCopy(ctx)
}

func (m *moves) source() *site { return m.c.agents[0] }

func (s *site) oneCopy(ctx context.Context) error {
	was, err := s.ask(ctx, http.MethodGet, "/ddocker/settings?format=file", nil)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	_, err = text.ReadFrom(was)
	if err := errors.Join(err, was.Close()); err != nil {
		return err
	}
	replicas := regexp.MustCompile(`("image_replicas": )\d+`)
	if !replicas.Match(text.Bytes()) {
		return fmt.Errorf("find image_replicas in the settings:\n%s", &text)
	}
	now, err := s.ask(ctx, http.MethodPost, "/ddocker/settings?name=bench", bytes.NewReader(replicas.ReplaceAll(text.Bytes(), []byte("${1}1"))))
	if err != nil {
		return err
	}
	return now.Close()
}

// cost is what a move took.
type cost struct {
	took time.Duration
	wire int64         // bytes that came to the first receiver
	cpu  time.Duration // of the source's engine
	peak int64         // memory of the agent that had most, in bytes
}

// bring has the image brought to the receivers, all at once, and returns when they
// have it.
func (m *moves) bring(ctx context.Context, name string, receivers ...*site) (is cost, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	syscall.Sync() // what was written before is not the move's burden
	var hosts []string
	for _, r := range receivers {
		hosts = append(hosts, r.name)
	}
	for _, pid := range m.agents {
		if err := forgetPeak(pid); err != nil {
			return is, err
		}
	}
	if err := m.meter(&is, hosts[0], -1); err != nil {
		return is, err
	}
	began := time.Now()
	told, err := m.source().ask(ctx, http.MethodPost, "/ddocker/images/"+name+"/replicate?hosts="+strings.Join(hosts, ","), nil)
	if err != nil {
		return is, err
	}
	err = errors.Join(outcome(told), told.Close())
	is.took = time.Since(began)
	if err != nil {
		return is, fmt.Errorf("replicate %s: %w", name, err)
	}
	for _, host := range hosts {
		if _, err := m.c.engine[host].ImageInspect(ctx, name); err != nil {
			return is, fmt.Errorf("after %s was brought to %s: %w", name, host, err)
		}
	}
	for _, pid := range m.agents {
		most, err := memory(pid, "VmHWM")
		if err != nil {
			return is, err
		}
		is.peak = max(is.peak, most)
	}
	return is, m.meter(&is, hosts[0], 1)
}

// meter adds what the counters say, or takes it away.
func (m *moves) meter(is *cost, receiver string, sign int64) error {
	wire, err := m.c.received(receiver)
	if err != nil {
		return err
	}
	cpu, err := cpuTime(m.engine)
	is.wire += sign * wire
	is.cpu += time.Duration(sign) * cpu
	return err
}

// plain moves the image between plain engines.
func (m *moves) plain(ctx context.Context, s *sample, name string) error {
	syscall.Sync()
	return timed(s, func() error { return saveLoad(ctx, m.c.plain[0], m.c.plain[1], name) })
}

// again has only the source have the image.
func (m *moves) again(ctx context.Context, p picture) error {
	if _, err := m.source().ImageRemove(ctx, p.name, image.RemoveOptions{}); err != nil {
		return fmt.Errorf("remove %s from the cluster: %w", p.name, err)
	}
	return m.source().take(ctx, p, 0)
}
