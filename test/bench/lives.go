package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"ddocker/test/lab"
)

// members is how many hosts the cluster has whose members come and go.
const members = 5

// oneWait is how long a list waits for a host that does not answer, and only once.
const oneWait = 900 * time.Millisecond

// onLives raises a lab for the rows that change who is a member, and measures them. The
// cluster grows to five, loses its leader's cable, changes its secrets, and shrinks.
func (b *bench) onLives(ctx context.Context) (err error) {
	b.say("raising %d hosts", members)
	l, err := lab.Raise(members)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	c := &cluster{lab: l}
	if err := b.join(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", rowJoin, err)
	}
	for _, part := range []struct {
		row     string
		measure func(context.Context, *cluster) error
	}{{rowCut, b.cut}, {rowRotate, b.rotate}, {rowLeave, b.leave}} {
		if !b.wants(part.row) {
			continue
		}
		b.say("measuring %s", part.row)
		if err := part.measure(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", part.row, err)
		}
	}
	return nil
}

// join founds a cluster and has the others join it, one after the other: from the command
// that prints the token until a container runs on the new host, by a request to itself.
func (b *bench) join(ctx context.Context, c *cluster) error {
	var took sample
	for i, h := range c.lab.Hosts() {
		began, join := time.Now(), []string{}
		if i > 0 {
			var err error
			if join, err = c.invitation(ctx, "1"); err != nil {
				return err
			}
		}
		if _, err := c.script(ctx, append([]string{"agent", fmt.Sprint(i + 1)}, join...)...); err != nil {
			return err
		}
		s, err := newSite(h.Name(), h.Agent())
		if err != nil {
			return err
		}
		if c.agents = append(c.agents, s); i == 0 {
			continue
		}
		if err := s.usable(ctx); err != nil {
			return err
		}
		took.add(time.Since(began))
		if err := s.remove(ctx, "joined-"+s.name); err != nil {
			return err
		}
	}
	if b.wants(rowJoin) {
		b.limited("join: from ddocker token until a container runs there", took.quantile(1)/1000, "%.2f s", 2, took.String())
	}
	return nil
}

// usable returns when a container runs on the host that is asked.
func (s *site) usable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return lab.Poll(ctx, func() error {
		_, err := s.launch(ctx, "joined-"+s.name, s.name)
		return err
	})
}

// whole waits until all members are there and open, and as many vote as should, and
// returns the leader and the others.
func (c *cluster) whole(ctx context.Context) (leader *site, others []*site, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = lab.Poll(ctx, func() error {
		for _, a := range c.agents {
			if leader, others, err = c.seenBy(ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
	return leader, others, err
}

func (c *cluster) seenBy(ctx context.Context, s *site) (leader *site, others []*site, err error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	voters := 0
	for _, a := range c.agents {
		n := nodes[a.name]
		switch {
		case n.State != "alive" || n.Reason != "":
			return nil, nil, fmt.Errorf("%s does not see %s alive: %+v", s.name, a.name, n)
		case n.Role == "leader":
			leader, voters = a, voters+1
			continue
		case n.Role == "voter":
			voters++
		}
		others = append(others, a)
	}
	if leader == nil || voters < 3 || len(nodes) != len(c.agents) {
		return nil, nil, fmt.Errorf("%s sees %d voters: %+v", s.name, voters, nodes)
	}
	return leader, others, nil
}

// ps runs docker ps -a on a host's agent.
func (s *site) ps(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "-H", "unix://"+s.socket, "ps", "-a").CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker ps by %s: %w: %s", s.name, err, out)
	}
	return nil
}

// steadily does something again and again until stop is called, which returns what each
// took, and what failed.
func steadily(ctx context.Context, do func(context.Context, int) error) (stop func() (sample, error)) {
	ctx, cancel := context.WithCancel(ctx)
	var took sample
	var failed error
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			err := timed(&took, func() error { return do(context.WithoutCancel(ctx), i) })
			failed = errors.Join(failed, err)
			time.Sleep(100 * time.Millisecond) // as a person might, at most
		}
	})
	return func() (sample, error) {
		cancel()
		running.Wait()
		return took, failed
	}
}

// cutRounds is how often the leader's cable is drawn.
const cutRounds = 5

// cut draws the cable of the leader's host: the next create is to run on a live host soon,
// and a survivor's lists are not to fail, or to wait for more than the one host.
func (b *bench) cut(ctx context.Context, c *cluster) error {
	var next, lists, usual sample
	var failed []string
	for round := range cutRounds {
		leader, others, err := c.whole(ctx)
		if err != nil {
			return err
		}
		for range b.n {
			if err := timed(&usual, func() error { return others[1].ps(ctx) }); err != nil {
				return err
			}
		}
		stop := steadily(ctx, func(ctx context.Context, _ int) error { return others[1].ps(ctx) })
		number := strings.TrimPrefix(leader.name, "h")
		began, name := time.Now(), fmt.Sprintf("cut-%d", round)
		if _, err := c.script(ctx, "cut", number); err != nil {
			return err
		}
		_, err = others[0].launch(ctx, name, "")
		next.add(time.Since(began))
		if err != nil {
			failed = append(failed, "create: "+err.Error())
		} else if on, err := others[0].holderOf(ctx, name); err != nil || on == leader.name {
			failed = append(failed, fmt.Sprintf("%s is on %s: %v", name, on, err))
		}
		time.Sleep(2 * time.Second) // lists go on
		took, fault := stop()
		if lists.values = append(lists.values, took.values...); fault != nil {
			failed = append(failed, fault.Error())
		}
		if _, err := c.script(ctx, "mend", number); err != nil {
			return err
		}
		if _, _, err := c.whole(ctx); err != nil {
			return err
		}
		if err := others[0].remove(ctx, name); err != nil {
			return err
		}
	}
	b.limited(fmt.Sprintf("leader's host cut off: next create runs, median of %d", cutRounds), next.median()/1000, "%.2f s", 2, next.String())
	b.limited("  the longest of them", next.quantile(1)/1000, "%.2f s", 3, "")
	b.limited("  docker ps by a survivor throughout, the longest", lists.quantile(1), "%.0f ms", 2*usual.median()+float64(oneWait.Milliseconds()), lists.String()+"; usually "+usual.String())
	b.none("  requests that failed", failed)
	return nil
}

// holderOf returns the host that a running container is on.
func (s *site) holderOf(ctx context.Context, name string) (string, error) {
	it, err := s.ContainerInspect(ctx, name)
	if err != nil {
		return "", err
	}
	if it.State == nil || !it.State.Running || it.Config == nil {
		return "", errors.New("it does not run")
	}
	return it.Config.Labels["ddocker.node"], nil
}

// none adds a row for what must not happen.
func (t *table) none(what string, happened []string) {
	r := row{what: what, measured: fmt.Sprint(len(happened)), demanded: "0", missed: len(happened) > 0}
	if r.missed {
		r.detail, _, _ = strings.Cut(happened[0], "\n")
	}
	t.rows = append(t.rows, r)
}

// amid does something while survivors are asked for lists and for containers, and returns
// what failed of that.
func amid(ctx context.Context, lists, creates *site, do func() error) (failed []string, err error) {
	one := steadily(ctx, func(ctx context.Context, _ int) error { return lists.ps(ctx) })
	other := steadily(ctx, func(ctx context.Context, i int) error {
		_, err := creates.once(ctx, fmt.Sprintf("amid-%d", i), "")
		return err
	})
	err = do()
	time.Sleep(time.Second)
	for _, stop := range []func() (sample, error){one, other} {
		if _, fault := stop(); fault != nil {
			failed = append(failed, fault.Error())
		}
	}
	return failed, err
}

// rotate changes the CA and the key of gossip while the cluster is in use.
func (b *bench) rotate(ctx context.Context, c *cluster) error {
	_, others, err := c.whole(ctx)
	if err != nil {
		return err
	}
	var took sample
	failed, err := amid(ctx, others[0], others[1], func() error {
		return timed(&took, func() error {
			_, err := c.script(ctx, "exec", "1", "ddocker", "ca", "rotate")
			return err
		})
	})
	if err != nil {
		b.absent("CA and gossip key changed on 5 hosts", err.Error())
		return nil
	}
	b.limited(fmt.Sprintf("CA and gossip key changed on %d hosts", members), took.median()/1000, "%.1f s", 0, took.String())
	b.none("  requests that failed", failed)
	return nil
}

const (
	leaveRounds = 5               // so often the leader leaves
	steady      = 5 * time.Second // a leader knows by then who can vote in another's place
)

// leave has the leader leave, and join again as a new host.
func (b *bench) leave(ctx context.Context, c *cluster) error {
	var took sample
	var failed []string
	for range leaveRounds {
		leader, others, err := c.whole(ctx)
		if err != nil {
			return err
		}
		time.Sleep(steady)
		number := strings.TrimPrefix(leader.name, "h")
		faults, err := amid(ctx, others[0], others[1], func() error {
			return timed(&took, func() error {
				_, err := c.script(ctx, "exec", number, "ddocker", "leave", "--force")
				return err
			})
		})
		if err != nil {
			b.absent("the leader leaves", err.Error())
			return nil
		}
		failed = append(failed, faults...)
		if err := c.again(ctx, number, strings.TrimPrefix(others[0].name, "h")); err != nil {
			return err
		}
	}
	b.limited(fmt.Sprintf("the leader leaves, the longest of %d", leaveRounds), took.quantile(1)/1000, "%.2f s", 2, took.String())
	b.none("  requests that failed", failed)
	return nil
}

// again has a host that has left join once more.
func (c *cluster) again(ctx context.Context, number, by string) error {
	if _, err := c.script(ctx, "halt", number); err != nil { // it ends by itself, a moment later
		return err
	}
	join, err := c.invitation(ctx, by)
	if err != nil {
		return err
	}
	_, err = c.script(ctx, append([]string{"agent", number}, join...)...)
	return err
}
