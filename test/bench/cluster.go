package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/client"

	"ddocker/test/lab"
)

// patience bounds every single thing that is measured or waited for.
const patience = 2 * time.Minute

// site is one socket that speaks Docker's API: an engine's, or an agent's, who
// speaks for the cluster.
type site struct {
	*client.Client
	name   string // of the host
	socket string
}

func newSite(name, address string) (*site, error) {
	keep := &http.Client{Transport: &http.Transport{MaxIdleConns: clients, MaxIdleConnsPerHost: clients}}
	c, err := client.NewClientWithOpts(client.WithHTTPClient(keep), client.WithHost(address), client.WithAPIVersionNegotiation())
	return &site{c, name, strings.TrimPrefix(address, "unix://")}, err
}

// cluster is three hosts under agents and three plain engines beside them.
type cluster struct {
	lab    *lab.Lab
	agents []*site // leader first
	plain  []*site
	engine map[string]*site // of the agents' hosts, by name
}

// entry is the non-leader through which the cluster is asked, far the other
// non-leader: a container there concerns all three.
func (c *cluster) entry() *site { return c.agents[1] }
func (c *cluster) far() string  { return c.agents[2].name }

// newCluster starts the agents and returns when all three nodes vote.
func newCluster(ctx context.Context, l *lab.Lab) (*cluster, error) {
	c := &cluster{lab: l, engine: map[string]*site{}}
	hosts := l.Hosts()
	for _, h := range hosts[3:] {
		s, err := newSite(h.Name(), h.Engine())
		if err != nil {
			return nil, err
		}
		c.plain = append(c.plain, s)
	}
	join := []string{}
	for i, h := range hosts[:3] {
		if _, err := c.script(ctx, append([]string{"agent", fmt.Sprint(i + 1)}, join...)...); err != nil {
			return nil, err
		}
		agent, err := newSite(h.Name(), h.Agent())
		if err != nil {
			return nil, err
		}
		c.agents = append(c.agents, agent)
		if c.engine[h.Name()], err = newSite(h.Name(), h.Engine()); err != nil {
			return nil, err
		}
		if i == 0 {
			if join, err = c.invitation(ctx, "1"); err != nil {
				return nil, err
			}
		}
	}
	return c, leaderFirst(ctx, c.agents)
}

// invitation returns the flags with which others join the host of that number.
func (c *cluster) invitation(ctx context.Context, by string) ([]string, error) {
	token, err := c.script(ctx, "exec", by, "ddocker", "token")
	if err != nil {
		return nil, err
	}
	at, err := os.ReadFile(filepath.Join(c.lab.Dir, "h"+by, "address"))
	return []string{"--join", strings.TrimSpace(string(at)), "--token", strings.TrimSpace(token)}, err
}

// script runs lab.sh on this lab and returns what it prints.
func (c *cluster) script(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out, fault bytes.Buffer
	cmd := exec.CommandContext(ctx, c.lab.Script(), args...)
	cmd.Env = append(os.Environ(), c.lab.Env()...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &fault, time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("lab.sh %s: %w\n%s", strings.Join(args, " "), err, fault.String())
	}
	return out.String(), nil
}

// leaderFirst waits until all the agents vote and are open for containers, and
// puts the leader first.
func leaderFirst(ctx context.Context, agents []*site) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return lab.Poll(ctx, func() error {
		nodes, err := agents[0].nodes(ctx)
		if err != nil {
			return err
		}
		voters, leader := 0, -1
		for i, a := range agents {
			switch n := nodes[a.name]; {
			case n.State != "alive" || n.Reason != "":
			case n.Role == "leader":
				voters, leader = voters+1, i
			case n.Role == "voter":
				voters++
			}
		}
		if voters < len(agents) || leader < 0 {
			return fmt.Errorf("wait for %d voters: %+v", len(agents), nodes)
		}
		agents[0], agents[leader] = agents[leader], agents[0]
		return nil
	})
}

// node is what /ddocker/nodes tells of one.
type node struct{ Name, State, Role, Reason string }

func (s *site) nodes(ctx context.Context) (map[string]node, error) {
	body, err := s.ask(ctx, http.MethodGet, "/ddocker/nodes", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var list []node
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return nil, fmt.Errorf("read the nodes: %w", err)
	}
	nodes := map[string]node{}
	for _, n := range list {
		nodes[n.Name] = n
	}
	return nodes, nil
}

// ask sends a request that Docker's client does not know and returns the answer's
// body, which the caller closes.
func (s *site) ask(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+client.DummyHost+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text), err)
}
