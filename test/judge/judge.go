// Package judge says what is wrong with the cluster of a lab that had its time to settle:
// what was given twice, what the ledger has and the engines do not, and the other way
// round, what a client was told of and is gone, what was restarted without being asked.
//
//	j := judge.New(l)
//	before, err := j.Containers(ctx)
//	…                                  // break something, and mend it
//	took, err := j.Settled(ctx)        // all nodes agree, after so long
//	wrong, err := j.Wrong(ctx)
//	wrong = append(wrong, judge.Touched(before, now)...)
//
// It asks the engines what is there, and each node for its ledger, its lists and its log.
// It takes nothing from the program that it judges but what any client is told.
package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"ddocker/test/lab"
)

const (
	// patience bounds every single question.
	patience = 20 * time.Second
	// beat is how often the nodes are asked whether they agree.
	beat = 250 * time.Millisecond
)

// Judge is for one lab.
type Judge struct {
	hosts   []*lab.Host
	engines []*Socket
	agents  []*Socket
}

// New asks nobody anything yet.
func New(l *lab.Lab) *Judge {
	j := &Judge{hosts: l.Hosts()}
	for _, h := range j.hosts {
		j.engines = append(j.engines, NewSocket(h.Engine()))
		j.agents = append(j.agents, NewSocket(h.Agent()))
	}
	return j
}

// Agent is host i's, counted from 1.
func (j *Judge) Agent(i int) *Socket { return j.agents[i-1] }

// Engine is host i's, counted from 1.
func (j *Judge) Engine(i int) *Socket { return j.engines[i-1] }

// Socket speaks HTTP to an engine or an agent.
type Socket struct{ web *http.Client }

// NewSocket opens nothing yet. Address is as docker takes it, "unix:///…".
func NewSocket(address string) *Socket {
	return &Socket{&http.Client{Transport: &http.Transport{
		IdleConnTimeout: time.Second, // who asks seldom counts for nothing in between
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(address, "unix://"))
		},
	}}}
}

// Refused is an answer of 400 and more.
type Refused struct {
	Code    int
	Message string
}

// Error is what was said.
func (r *Refused) Error() string { return fmt.Sprintf("%d: %s", r.Code, r.Message) }

// Ask sends a request and reads the answer into a value, or into bytes, or nowhere.
func (s *Socket) Ask(ctx context.Context, method, path string, body, into any) error {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, text)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		said := Refused{Code: resp.StatusCode, Message: string(answer)}
		json.Unmarshal(answer, &said) // or it is no JSON
		return &said
	}
	switch into := into.(type) {
	case nil:
		return nil
	case *[]byte:
		*into = answer
		return nil
	default:
		return json.Unmarshal(answer, into)
	}
}

// Drain reads an answer to its end, for nobody.
func (s *Socket) Drain(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://lab"+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (s *Socket) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.Ask(ctx, http.MethodGet, path, nil, into)
}

// Settled waits until all nodes agree, as long as ctx lets it, and tells how long that
// took.
func (j *Judge) Settled(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		err := j.Agree(ctx)
		if err == nil {
			return time.Since(began), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Since(began), fmt.Errorf("the nodes do not agree: %w", err)
		}
	}
}

// node is what /ddocker/nodes tells of one.
type node struct{ ID, Name, State, Role, Reason string }

// listed is a container as a node lists it.
type listed struct {
	ID    string
	Names []string
	State string
}

// Agree says in what the nodes disagree among each other, or with the engines: who is
// alive, who leads and votes, which containers there are and whether they run, and who
// holds what, byte by byte.
func (j *Judge) Agree(ctx context.Context) error {
	have, err := j.brief(ctx)
	if err != nil {
		return err
	}
	var first []byte
	leader := ""
	for i, agent := range j.agents {
		name := j.hosts[i].Name()
		leads, err := agent.healthy(ctx, len(j.hosts))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var rows []listed
		var ledger []byte
		if err := errors.Join(agent.get(ctx, "/containers/json?all=1", &rows), agent.get(ctx, "/ddocker/raft/snapshot", &ledger)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if saw := briefly(rows); !slices.Equal(saw, have) {
			return fmt.Errorf("%s lists %v, the engines have %v", name, saw, have)
		}
		if i == 0 {
			first, leader = ledger, leads
		}
		if leads != leader {
			return fmt.Errorf("%s says that %s leads, not %s", name, leads, leader)
		}
		if !bytes.Equal(ledger, first) {
			return fmt.Errorf("the ledger of %s is not that of %s", name, j.hosts[0].Name())
		}
	}
	return nil
}

// healthy returns who leads, or what the node finds wrong with the others or its log.
func (s *Socket) healthy(ctx context.Context, hosts int) (leader string, err error) {
	var nodes []node
	var raft struct {
		Leader          string
		Voters          int
		Commit, Applied uint64
	}
	if err := errors.Join(s.get(ctx, "/ddocker/nodes", &nodes), s.get(ctx, "/ddocker/raft", &raft)); err != nil {
		return "", err
	}
	for _, n := range nodes {
		if n.State != "alive" || n.Reason != "" {
			return "", fmt.Errorf("it says that %s is %s %s", n.Name, n.State, n.Reason)
		}
	}
	if len(nodes) != hosts || raft.Leader == "" || raft.Voters != hosts || raft.Applied > raft.Commit {
		return "", fmt.Errorf("it knows %d hosts, log %+v", len(nodes), raft)
	}
	return raft.Leader, nil
}

// brief is every container of every engine and whether it runs, in order.
func (j *Judge) brief(ctx context.Context) ([]string, error) {
	var all []listed
	for i, engine := range j.engines {
		var rows []listed
		if err := engine.get(ctx, "/containers/json?all=1", &rows); err != nil {
			return nil, fmt.Errorf("the engine of %s: %w", j.hosts[i].Name(), err)
		}
		all = append(all, rows...)
	}
	return briefly(all), nil
}

func briefly(rows []listed) (all []string) {
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%s %.12s %s", strings.Join(r.Names, ","), r.ID, r.State))
	}
	slices.Sort(all)
	return all
}
