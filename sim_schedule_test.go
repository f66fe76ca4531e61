package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ddocker/crash"
)

// schedule is one broken cluster: how it is made, who works on it, and what happens to
// it when. It is data, so that one that found something can be kept and played again.
type schedule struct {
	Seed     uint64
	Machines int
	Clients  int
	Net      weather
	Engine   time.Duration // how long an engine takes for a change
	Faults   []fault       // by the time of their beginning
}

// weather is what a network does to all that is sent.
type weather struct {
	Delay, Jitter time.Duration
	Loss, Twice   float64 // of packets, 0 to 1
}

// fault is something that happens to a cluster At a time and is over after For. Host and
// Other are machines by their number, from 0.
type fault struct {
	Kind        string
	At, For     time.Duration
	Host, Other int
	Nth         int // of a crash: the how manieth step, or clock's jump in minutes
	Step        crash.Step
}

// The kinds of faults, and how often each is drawn.
const (
	crashed       = "crash"        // kill -9 of an agent, back after For
	beheaded      = "leader kill"  // the same, of whoever leads
	stopped       = "stop"         // SIGTERM, back after For
	crashedAtStep = "crash step"   // kill -9 when the agent does something for the Nth time
	cutOff        = "cut"          // nothing in or out
	deaf          = "deaf"         // nothing in
	mute          = "mute"         // nothing out
	pairCut       = "pair cut"     // nothing between two
	scattered     = "scattered"    // nothing between any: no quorum
	reset         = "reset"        // streams between two are broken
	badWeather    = "bad weather"  // slow, packets lost, doubled, out of order
	hung          = "hung engine"  // it answers nothing
	slowEngine    = "slow engine"  // it takes seconds
	lying         = "lying engine" // it does it and says 500
	newEngine     = "new engine"   // it restarts, containers run on
	diskFull      = "full disk"
	clockJump     = "clock jump"
	lostDisk      = "lost disk" // the machine is set up anew, under its name
	left          = "leave"     // and joins again after For
	joined        = "join"      // of a machine more
	transferred   = "transfer"  // of leadership
	drained       = "drain"
)

// longest is how long a fault lasts at most; 0: it has no length.
type likelihood struct {
	kind    string
	weight  int
	longest time.Duration
}

func likelihoods() []likelihood {
	const s = time.Second
	return []likelihood{
		{crashed, 10, 5 * s}, {beheaded, 10, 5 * s}, {stopped, 3, 3 * s}, {crashedAtStep, 14, 6 * s},
		{cutOff, 5, 8 * s}, {deaf, 4, 8 * s}, {mute, 4, 8 * s}, {pairCut, 4, 8 * s}, {scattered, 2, 8 * s},
		{reset, 6, 0}, {badWeather, 4, 8 * s},
		{hung, 5, 15 * s}, {slowEngine, 5, 10 * s}, {lying, 5, 0}, {newEngine, 4, 0},
		{diskFull, 3, 6 * s}, {clockJump, 3, 10 * s},
		{lostDisk, 1, 0}, {left, 2, 0}, {joined, 1, 0}, {transferred, 3, 0}, {drained, 2, 8 * s},
	}
}

// under is how long a cluster of the simulator is worked on and broken.
const under = 12 * time.Second

// changesMembers says of which faults there is at most one: they take a while.
func changesMembers(kind string) bool { return kind == lostDisk || kind == left || kind == joined }

// ofMembers says whether a step is reached only where machines come and go.
func ofMembers(s crash.Step) bool {
	way, _, _ := strings.Cut(string(s), ".")
	return way == "join" || way == "leave" || way == "vote"
}

// draw makes a schedule out of a number.
func draw(seed uint64) schedule {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := schedule{
		Seed: seed, Machines: []int{3, 3, 3, 3, 3, 3, 4, 4, 5, 6}[rng.IntN(10)], Clients: 3,
		Net:    weather{200 * time.Microsecond, time.Duration(rng.IntN(4000)) * time.Microsecond, []float64{0, 0, 0.05}[rng.IntN(3)], 0.02},
		Engine: time.Duration(1+rng.IntN(40)) * time.Millisecond,
	}
	members := false
	for range 3 + rng.IntN(4) {
		f := s.fault(rng)
		if changesMembers(f.Kind) || ofMembers(f.Step) {
			if members {
				continue
			}
			members = true
		}
		s.Faults = append(s.Faults, f)
		if ofMembers(f.Step) { // which needs somebody who goes that way
			s.Faults = append(s.Faults, fault{Kind: left, At: f.At + time.Second/10, Host: f.Host, Other: f.Other})
		}
	}
	slices.SortStableFunc(s.Faults, func(a, b fault) int { return cmp.Compare(a.At, b.At) })
	return s
}

func (s *schedule) fault(rng *rand.Rand) fault {
	all, sum := likelihoods(), 0
	for _, l := range all {
		sum += l.weight
	}
	at := rng.IntN(sum)
	i := 0
	for ; at >= all[i].weight; i++ {
		at -= all[i].weight
	}
	f := fault{Kind: all[i].kind, At: time.Duration(rng.Int64N(int64(under))), Host: rng.IntN(s.Machines)}
	f.Other = (f.Host + 1 + rng.IntN(s.Machines-1)) % s.Machines
	if all[i].longest > 0 {
		f.For = time.Second/2 + time.Duration(rng.Int64N(int64(all[i].longest)))
	}
	switch f.Kind {
	case clockJump:
		f.Nth = rng.IntN(240) - 120
	case crashedAtStep:
		f.Nth = 1 + rng.IntN(3)
		f.Step = crash.Steps()[rng.IntN(len(crash.Steps()))]
		for ofMembers(f.Step) && rng.IntN(3) > 0 { // they take a while
			f.Step = crash.Steps()[rng.IntN(len(crash.Steps()))]
		}
		if ofMembers(f.Step) {
			f.Nth = 1
		}
	case lying:
		f.Nth = rng.IntN(6)
	}
	return f
}
