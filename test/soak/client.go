package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"ddocker/test/judge"
)

const (
	// onePatience bounds what one client asks for at once.
	onePatience = 40 * time.Second
	// listPatience is how long a list may take, whatever is broken: a bounded wait for hosts
	// that are away, and a busy machine.
	listPatience = 5 * time.Second
	// most is how many containers a client has at once.
	most = 4
)

// client works on containers of its own.
type client struct {
	*soak
	number int
	random *rand.Rand
	made   int      // numbers its names
	names  []string // of its containers
	images []string
}

func (s *soak) newClient(number int) *client {
	return &client{soak: s, number: number, random: rand.New(rand.NewPCG(s.seed, uint64(number)+1))}
}

// counts is what all clients did.
type counts struct{ done, refused, failed atomic.Int64 }

var errNothing = errors.New("there is nothing to do it with")

// work does one thing after another until ctx ends.
func (c *client) work(ctx context.Context) {
	for ctx.Err() == nil {
		c.load.do(func() {
			if ctx.Err() == nil {
				c.one()
			}
		})
		pause(ctx, 200*time.Millisecond+time.Duration(c.random.IntN(600))*time.Millisecond)
	}
}

// one does one thing at random. Errors are counted: with half of the cluster away most of
// what is asked for is rightly refused, and what came of it shows in the quiet time.
func (c *client) one() {
	ctx, cancel := context.WithTimeout(context.Background(), onePatience)
	defer cancel()
	some := []struct {
		name   string
		weight int
		do     func(context.Context) error
	}{
		{"create", 30, c.create}, {"remove", 20, c.remove}, {"stop", 8, c.stop}, {"start", 8, c.start},
		{"rename", 5, c.rename}, {"exec", 12, c.exec}, {"logs", 5, c.logs}, {"list", 10, c.list},
		{"command line", 4, c.commandLine}, {"commit", 3, c.commit}, {"use an image elsewhere", 3, c.useImage},
		{"remove an image", 2, c.removeImage}, {"drain", 1, c.drain}, {"contend", 4, c.contend},
	}
	all := 0
	for _, s := range some {
		all += s.weight
	}
	at := c.random.IntN(all)
	for _, s := range some {
		if at -= s.weight; at < 0 {
			c.count(s.do(ctx))
			return
		}
	}
}

func (c *client) count(err error) {
	var refused *judge.Refused
	switch {
	case errors.Is(err, errNothing):
	case err == nil:
		c.counts.done.Add(1)
	case errors.As(err, &refused) && refused.Code != http.StatusInternalServerError:
		c.counts.refused.Add(1)
	default:
		c.counts.failed.Add(1)
		c.mu.Lock()
		c.failures[firstWords(err.Error())]++
		c.mu.Unlock()
	}
}

// firstWords is an error without what is different each time.
func firstWords(text string) string {
	text = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, text)
	return text[:min(len(text), 160)]
}

// agent is that of a host at random.
func (c *client) agent() *judge.Socket { return c.judge.Agent(1 + c.random.IntN(3)) }

// pick is one of the client's containers that it is sure of.
func (c *client) pick() (own, error) {
	for _, at := range c.random.Perm(len(c.names)) {
		o, there := c.told.get(c.names[at])
		if !there { // it was never made, as a quiet time showed
			c.forget(c.names[at])
			return own{}, errNothing
		}
		if !o.unsure {
			return o, nil
		}
	}
	return own{}, errNothing
}

func (c *client) forget(name string) {
	var rest []string
	for _, n := range c.names {
		if n != name {
			rest = append(rest, n)
		}
	}
	c.names = rest
}

func (c *client) name() string {
	c.made++
	return fmt.Sprintf("c%d-%d", c.number, c.made)
}

// command says something each second, so that there are logs.
var command = []string{"sh", "-c", "while :; do echo tick; sleep 1; done"}

func (c *client) create(ctx context.Context) error {
	if len(c.names) >= most {
		return c.remove(ctx)
	}
	body := map[string]any{"Image": "busybox", "Cmd": command, "StopSignal": "KILL"}
	labels, host := map[string]string{}, map[string]any{}
	if ports := c.random.IntN(3); ports > 0 {
		labels["ddocker.ports"] = fmt.Sprint(ports)
	}
	switch c.random.IntN(6) {
	case 0:
		host["NanoCpus"] = int64(1e9) // pinned, where there is one
	case 1, 2:
		host["NanoCpus"] = int64(1e8)
	}
	body["Labels"], body["HostConfig"] = labels, host
	return c.makeAndStart(ctx, c.name(), body)
}

// makeAndStart creates and starts a container, and keeps in mind what is known of it.
func (c *client) makeAndStart(ctx context.Context, name string, body map[string]any) error {
	c.told.put(own{name: name, unsure: true, unsureOf: "create"})
	c.names = append(c.names, name)
	var made struct{ ID string }
	if err := c.agent().Ask(ctx, http.MethodPost, "/containers/create?name="+name, body, &made); err != nil {
		return err
	}
	c.told.put(own{name: name, id: made.ID, unsure: true, unsureOf: "start"})
	if err := c.agent().Ask(ctx, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil); err != nil {
		return err
	}
	c.told.put(own{name: name, id: made.ID, runs: true})
	return nil
}

// command sends a command for one of the client's containers. Until it is answered nobody
// is sure of it.
func (c *client) command(ctx context.Context, o own, method, path string, after func(*own)) error {
	c.told.change(o.name, func(o *own) { o.unsure, o.unsureOf = true, path })
	if err := c.agent().Ask(ctx, method, "/containers/"+o.name+path, nil, nil); err != nil {
		return err
	}
	c.told.change(o.name, func(o *own) { o.unsure = false; after(o) })
	return nil
}

func (c *client) stop(ctx context.Context) error {
	o, err := c.pick()
	if err != nil {
		return err
	}
	return c.command(ctx, o, http.MethodPost, "/stop?t=1", func(o *own) { o.runs = false })
}

func (c *client) start(ctx context.Context) error {
	o, err := c.pick()
	if err != nil {
		return err
	}
	return c.command(ctx, o, http.MethodPost, "/start", func(o *own) { o.runs = true })
}

func (c *client) remove(ctx context.Context) error {
	o, err := c.pick()
	if err != nil {
		return err
	}
	if err := c.command(ctx, o, http.MethodDelete, "?force=1", func(*own) {}); err != nil {
		return err
	}
	c.told.drop(o.name)
	c.forget(o.name)
	return nil
}

func (c *client) rename(ctx context.Context) error {
	o, err := c.pick()
	if err != nil {
		return err
	}
	name := c.name()
	c.names = append(c.names, name)
	c.told.put(own{name: name, unsure: true, unsureOf: "rename"})
	if err := c.command(ctx, o, http.MethodPost, "/rename?name="+name, func(*own) {}); err != nil {
		return err
	}
	c.told.rename(o.name, name)
	c.forget(o.name)
	return nil
}

func (c *client) exec(ctx context.Context) error {
	o, err := c.pick()
	if err == nil && !o.runs {
		err = errNothing
	}
	if err != nil {
		return err
	}
	var made struct{ ID string }
	agent := c.agent()
	err = agent.Ask(ctx, http.MethodPost, "/containers/"+o.name+"/exec", map[string]any{"AttachStdout": true, "Cmd": []string{"echo", "out of " + o.name}}, &made)
	if err != nil {
		return err
	}
	var out []byte
	if err := agent.Ask(ctx, http.MethodPost, "/exec/"+made.ID+"/start", map[string]any{"Detach": false, "Tty": false}, &out); err != nil {
		return err
	}
	if !strings.Contains(string(out), "out of "+o.name) {
		return fmt.Errorf("exec says %.80q", out)
	}
	return nil
}

func (c *client) logs(ctx context.Context) error {
	o, err := c.pick()
	if err != nil {
		return err
	}
	return c.agent().Ask(ctx, http.MethodGet, "/containers/"+o.name+"/logs?stdout=1&tail=20", nil, nil)
}

// list is bounded, whatever is broken, on hosts whose agent runs.
func (c *client) list(ctx context.Context) error {
	began := time.Now()
	err := c.agent().Ask(ctx, http.MethodGet, "/containers/json?all=1", nil, nil)
	if took := time.Since(began); err == nil && took > listPatience {
		c.violated("a list took %v", took)
	}
	return err
}

func (c *client) commandLine(context.Context) error {
	h := c.lab.Host(1 + c.random.IntN(3))
	args := [][]string{{"ps", "-a"}, {"nodes"}, {"images"}, {"raft", "status"}}[c.random.IntN(4)]
	if r := h.Run(append([]string{"ddocker"}, args...)...); r.Code != 0 {
		return &judge.Refused{Code: r.Code, Message: r.Stderr}
	}
	return nil
}

func (c *client) commit(ctx context.Context) error {
	o, err := c.pick()
	if err == nil && len(c.images) > 1 {
		err = errNothing
	}
	if err != nil {
		return err
	}
	c.made++
	image := fmt.Sprintf("i%d:%d", c.number, c.made)
	c.images = append(c.images, image) // or perhaps it is never made
	repo, tag, _ := strings.Cut(image, ":")
	return c.agent().Ask(ctx, http.MethodPost, "/commit?"+url.Values{"container": {o.name}, "repo": {repo}, "tag": {tag}}.Encode(), nil, nil)
}

// useImage makes a container of a committed image, wherever the cluster puts it.
func (c *client) useImage(ctx context.Context) error {
	if len(c.images) == 0 || len(c.names) >= most {
		return errNothing
	}
	return c.makeAndStart(ctx, c.name(), map[string]any{
		"Image": c.images[0], "Cmd": command, "Labels": map[string]string{"ddocker.node": fmt.Sprintf("h%d", 1+c.random.IntN(3))}, "StopSignal": "KILL",
	})
}

func (c *client) removeImage(ctx context.Context) error {
	if len(c.images) == 0 {
		return errNothing
	}
	err := c.agent().Ask(ctx, http.MethodDelete, "/images/"+c.images[0]+"?force=1", nil, nil)
	var refused *judge.Refused
	if err == nil || errors.As(err, &refused) && refused.Code == http.StatusNotFound {
		c.images = c.images[1:]
	}
	return err
}

// drain has a host take nothing for a moment.
func (c *client) drain(ctx context.Context) error {
	name := fmt.Sprintf("h%d", 1+c.random.IntN(3))
	if err := c.agent().Ask(ctx, http.MethodPost, "/ddocker/nodes/"+name+"/drain", nil, nil); err != nil {
		return err
	}
	pause(ctx, 2*time.Second)
	return c.agent().Ask(ctx, http.MethodPost, "/ddocker/nodes/"+name+"/activate", nil, nil)
}

// contend has all clients want one name: at no time do two of them have it.
func (c *client) contend(ctx context.Context) error {
	var made struct{ ID string }
	name := fmt.Sprintf("prize%d", time.Now().Unix()/20)
	err := c.agent().Ask(ctx, http.MethodPost, "/containers/create?name="+name, map[string]any{"Image": "busybox", "Cmd": command}, &made)
	if err != nil {
		return err // it may be there, and nobody was told; who was told before keeps it
	}
	c.granted(name, made.ID)
	return nil
}

// granted remembers who was told to have the prize. Nobody removes it before the quiet
// time, so whoever is told so after that was given what another has.
func (s *soak) granted(name, id string) {
	if other, had := s.prize.LoadOrStore(name, id); had && other != id {
		s.violated("%s was given as %.12s, and as %.12s", name, other, id)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
