//go:build faults

package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"ddocker/test/judge"
	"ddocker/test/lab"
)

// TestAThousandConflictingCreates has a thousand clients ask all hosts at once for 40 names
// and 15 ports: each name is given once, each port once a host, the others are told why
// not, and nothing is left of them.
func TestAThousandConflictingCreates(t *testing.T) {
	const clients, names, ports = 1000, 40, 15
	w := raise(t)
	before := w.stock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var mu sync.Mutex // guards what follows
	given := map[string]int{}
	refusals := map[string]int{}
	var slowest time.Duration
	began := time.Now()
	var asking sync.WaitGroup
	for n := range clients {
		asking.Go(func() {
			want := wish{name: fmt.Sprintf("crowd%d", n%names), port: fmt.Sprint(31000 + n%ports)}
			asked := time.Now()
			id, err := w.make(ctx, 1+n%3, want)
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(asked))
			if err == nil {
				w.told[want.name] = id
				given[want.name]++
				return
			}
			var refused *judge.Refused
			if !errors.As(err, &refused) || refused.Code < 400 || refused.Code == http.StatusInternalServerError {
				t.Errorf("a client is told: %v", err)
				return
			}
			kind := fmt.Sprint(refused.Code)
			switch {
			case strings.Contains(refused.Message, "already in use"):
				kind += ", the name"
			case strings.Contains(refused.Message, "port"):
				kind += ", the port"
			default:
				kind += ", " + refused.Message
			}
			refusals[kind]++
		})
	}
	asking.Wait()
	t.Logf("%d creates took %v, the slowest %v; %d were given, refused were %v", clients, time.Since(began).Round(time.Millisecond), slowest.Round(time.Millisecond), len(given), refusals)
	for name, times := range given {
		if times > 1 {
			t.Errorf("%s was given %d times", name, times)
		}
	}
	if len(given) < names/2 || len(given) > min(names, 3*ports) {
		t.Errorf("%d of %d names were given", len(given), names)
	}
	if bare := len(w.containers()) - len(before); bare != len(given) {
		t.Errorf("the engines have %d containers more, for %d that were given", bare, len(given))
	}
	w.over(before)
}

// TestAgentsRestartUnderStreams kills the agent that 20 clients who exec and 20 who follow a
// log talk to, and then that of the host where they are carried out.
func TestAgentsRestartUnderStreams(t *testing.T) {
	w := raise(t)
	before := w.stock()
	if err := w.create(t.Context(), 1, wish{name: "talker", on: "h3", command: "while :; do echo tick; sleep 0.2; done"}); err != nil {
		t.Fatal(err)
	}
	before = w.containers()
	for _, victim := range []*lab.Host{w.Host(1), w.Host(3)} {
		t.Run("the agent of "+victim.Name(), func(t *testing.T) {
			w := &world{Lab: w.Lab, Judge: w.Judge, t: t, told: w.told}
			crowd := w.follow(20)
			victim.KillAgent(t)
			crowd.ended(15*time.Second, victim.Name())
			victim.StartAgent(t)
			w.over(before)
			had := w.descriptors()
			w.follow(20).leave()
			lab.Eventually(t, 2*time.Minute, func() error { // some are kept for the next requests
				for i, now := range w.descriptors() {
					if now > had[i]+10 {
						return fmt.Errorf("the agent of h%d had %d descriptors open, and has %d", i+1, had[i], now)
					}
				}
				return nil
			})
		})
	}
}

// descriptors are how many files and connections each agent has open.
func (w *world) descriptors() (open []int) {
	w.t.Helper()
	for _, h := range w.Hosts() {
		p, err := h.AgentProcess()
		if err != nil {
			w.t.Fatal(err)
		}
		n, err := p.Descriptors()
		if err != nil {
			w.t.Fatal(err)
		}
		open = append(open, n)
	}
	return open
}

// crowd are clients of h1 with open streams to a container on h3.
type crowd struct {
	*world
	ends chan string // one for each stream: what it said last
	size int
	stop context.CancelFunc
}

// follow returns when each of the streams has brought something.
func (w *world) follow(n int) *crowd {
	w.t.Helper()
	docker, err := client.NewClientWithOpts(client.WithHost(w.Host(1).Agent()), client.WithVersion("1.41"))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	w.t.Cleanup(func() { stop(); docker.Close() })
	c := &crowd{world: w, ends: make(chan string, 2*n), size: 2 * n, stop: stop}
	var begun sync.WaitGroup
	begun.Add(c.size)
	for range n {
		go func() {
			logs, err := docker.ContainerLogs(ctx, "talker", container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
			if err != nil {
				w.t.Errorf("follow the log: %v", err)
				begun.Done()
				return
			}
			defer logs.Close()
			c.ends <- readAll(bufio.NewReader(logs), &begun)
		}()
		go func() {
			made, err := docker.ContainerExecCreate(ctx, "talker", container.ExecOptions{AttachStdout: true, AttachStderr: true, Cmd: []string{"sh", "-c", "while :; do echo tock; sleep 0.2; done"}})
			var stream *bufio.Reader
			if err == nil {
				conn, fault := docker.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
				if err = fault; err == nil {
					defer conn.Close()
					context.AfterFunc(ctx, conn.Close)
					stream = conn.Reader
				}
			}
			if err != nil {
				w.t.Errorf("exec: %v", err)
				begun.Done()
				return
			}
			c.ends <- readAll(stream, &begun)
		}()
	}
	begun.Wait()
	return c
}

// readAll reads a stream to its end and returns the end of it.
func readAll(r *bufio.Reader, begun *sync.WaitGroup) (last string) {
	first := true
	defer func() {
		if first {
			begun.Done()
		}
	}()
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			last = line
			if first {
				first = false
				begun.Done()
			}
		}
		if err != nil {
			return last + " " + err.Error()
		}
	}
}

// ended waits until all streams have ended. Where the one who was asked lives on, each says
// which host is away.
func (c *crowd) ended(limit time.Duration, victim string) {
	c.t.Helper()
	began := time.Now()
	late := time.After(limit)
	said := map[string]int{}
	for n := range c.size {
		select {
		case last := <-c.ends:
			last = strings.TrimSpace(strings.Trim(last, "\x00\x01\x02"))
			said[last]++
			if victim != "h1" && !strings.Contains(last, victim) {
				c.t.Errorf("a stream ends with %q", last)
			}
		case <-late:
			c.t.Fatalf("%v after the agent of %s was killed %d of %d streams have ended", limit, victim, n, c.size)
		}
	}
	c.t.Logf("after %v all %d streams have ended: %v", time.Since(began).Round(time.Millisecond), c.size, said)
}

// leave has all clients go, after which the agents keep nothing of them.
func (c *crowd) leave() {
	c.t.Helper()
	c.stop()
	for range c.size {
		<-c.ends
	}
}
