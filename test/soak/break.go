package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// fault breaks something and mends it. Hosts are numbered from 1.
type fault struct {
	name string
	do   func(context.Context, *rand.Rand) error
}

// faults are all that may happen. The agent of the first host is measured, and so never
// killed.
func (s *soak) faults() []fault {
	anyHost := func(r *rand.Rand) string { return fmt.Sprint(1 + r.IntN(3)) }
	mortal := func(r *rand.Rand) string { return fmt.Sprint(2 + r.IntN(2)) }
	agentEnds := func(signal string) func(context.Context, *rand.Rand) error {
		return func(ctx context.Context, r *rand.Rand) error {
			host := mortal(r)
			return s.between(ctx, seconds(r, 0, 8), []string{"halt", host, signal}, []string{"agent", host})
		}
	}
	pair := func(breaks, mends string, least, most int) func(context.Context, *rand.Rand) error {
		return func(ctx context.Context, r *rand.Rand) error {
			two := r.Perm(3)
			a, b := fmt.Sprint(1+two[0]), fmt.Sprint(1+two[1])
			return s.between(ctx, seconds(r, least, most), []string{breaks, a, b}, []string{mends, a, b})
		}
	}
	engineRestarts := func(signal string) func(context.Context, *rand.Rand) error {
		return func(_ context.Context, r *rand.Rand) error { return s.script("restart", anyHost(r), signal) }
	}
	return []fault{
		{"an agent is killed", agentEnds("KILL")},
		{"an agent is restarted", agentEnds("TERM")},
		{"an engine hangs", func(ctx context.Context, r *rand.Rand) error {
			host := anyHost(r)
			return s.between(ctx, seconds(r, 3, 12), []string{"engine", host, "STOP"}, []string{"engine", host, "CONT"})
		}},
		{"an engine is restarted", engineRestarts("TERM")},
		{"an engine is killed", engineRestarts("KILL")},
		{"a host is cut off", func(ctx context.Context, r *rand.Rand) error {
			host := anyHost(r)
			return s.between(ctx, seconds(r, 5, 20), []string{"cut", host}, []string{"mend", host})
		}},
		{"a host does not hear another", pair("deafen", "hear", 5, 20)},
		{"two hosts are split", pair("split", "join", 5, 20)},
		{"leadership is handed over", func(_ context.Context, r *rand.Rand) error {
			s.lab.Host(1+r.IntN(3)).Run("ddocker", "raft", "transfer-leader") // or refused
			return nil
		}},
	}
}

// breakThings breaks one thing after another for so long. All is mended when it returns.
func (s *soak) breakThings(ctx context.Context, random *rand.Rand, long time.Duration) {
	all := s.faults()
	for end := time.Now().Add(long); ctx.Err() == nil; {
		calm := seconds(random, 8, 20)
		if time.Until(end) < calm {
			pause(ctx, time.Until(end))
			return
		}
		pause(ctx, calm)
		f := all[random.IntN(len(all))]
		s.note("%s", f.name)
		if err := f.do(ctx, random); err != nil {
			s.violated("after %s: %v", f.name, err)
		}
	}
}

// between breaks, waits and mends, also when ctx ends meanwhile.
func (s *soak) between(ctx context.Context, long time.Duration, breaks, mends []string) error {
	if err := s.script(breaks...); err != nil {
		return err
	}
	pause(ctx, long)
	return s.script(mends...)
}

func (s *soak) script(args ...string) error {
	s.note("lab %v", args)
	return s.lab.Do(args...)
}

func seconds(r *rand.Rand, least, most int) time.Duration {
	return time.Duration(least)*time.Second + time.Duration(r.IntN((most-least)*1000))*time.Millisecond
}
