package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// simClient works on a broken cluster as a person or a script does: it makes containers
// and images and takes them away again, tries again what failed, and loses patience.
type simClient struct {
	*simulation
	id    int
	rng   *rand.Rand
	mine  []*work // containers that were acknowledged
	count int
}

// work is a container of which its maker was told, and what must be true of it.
type work struct {
	id, name, port string // port: "port 9000 of n1", or empty
	calmly         bool   // while it was made nothing was broken: the cluster knows it

	// The following is guarded by simulation.mu.
	gone    bool   // its removal was acknowledged
	freed   int64  // when, in the history
	going   bool   // it may be gone: somebody tried
	out     bool   // its machine is, or was, out of the cluster
	running string // since when it runs, as its engine said; empty: it may or may not
	unsure  bool   // a stop was asked for that may come at any time
	// startable says that a start was asked for that may come at any time; halted, that none
	// may, after a stop that was acknowledged.
	startable, halted bool
}

// shared is a source of chance for a client who asks twice at once.
type shared struct {
	mu  sync.Mutex // guards pcg
	pcg *rand.PCG
}

func (s *shared) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pcg.Uint64()
}

// scarce is how many names all clients fight for, and how many ports.
const scarce = 2

// pause is how long a client rests at most between two requests, in milliseconds.
const pause = 1000

// overtime is how long clients work on at most while things are broken.
const overtime = 5 * time.Second

// run works until the time is over and nothing more is broken.
func (c *simClient) run(ctx context.Context, until time.Time) {
	do := []struct {
		weight int
		do     func()
	}{
		{8, c.create}, {2, c.start}, {2, c.stop}, {4, c.remove}, {1, c.removeScarce}, {1, c.rename}, {2, c.commit}, {1, c.removeImage}, {1, c.look},
	}
	sum := 0
	for _, d := range do {
		sum += d.weight
	}
	for time.Now().Before(until) || ctx.Err() == nil && time.Now().Before(until.Add(overtime)) {
		at := c.rng.IntN(sum)
		for _, d := range do {
			if at -= d.weight; at < 0 {
				d.do()
				break
			}
		}
		time.Sleep(time.Duration(c.rng.IntN(pause)) * time.Millisecond)
	}
}

// any returns a machine to speak to.
func (c *simClient) any() *simHost { return c.machines[c.rng.IntN(len(c.machines))] }

// patience is how long a client waits: mostly longer than anything should take.
func (c *simClient) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), []time.Duration{15 * time.Second, 15 * time.Second, 15 * time.Second, 300 * time.Millisecond}[c.rng.IntN(4)])
}

// create makes a container, asks again a few times if it hears nothing that it
// understands, and starts it.
func (c *simClient) create() {
	c.count++
	want := wanted{name: fmt.Sprintf("c%d-%d", c.id, c.count)}
	if c.rng.IntN(4) == 0 {
		want.name = fmt.Sprint("scarce", c.rng.IntN(scarce))
	}
	port := ""
	switch c.rng.IntN(5) {
	case 0:
		want.ports = 1 + c.rng.IntN(2)
	case 1:
		want.port, want.on = fmt.Sprint(9000+c.rng.IntN(scarce)), c.any().name
		port = "port " + want.port + " of " + want.on
	case 2:
		want.cpus = float64(1 + c.rng.IntN(2))
	case 3:
		want.gpus = 1
	}
	want.image = c.someImage()
	for range 3 {
		if !c.createBy(want, port) {
			return
		}
		if c.rng.IntN(3) == 0 {
			return // gives up
		}
	}
}

// createBy asks for a container, now and then twice at once, and says whether the answer
// leaves open what became of it.
func (c *simClient) createBy(want wanted, port string) (again bool) {
	by, twin := c.any(), c.any()
	if c.rng.IntN(8) == 0 { // the request comes twice
		done := make(chan bool)
		go func() { done <- c.createOnce(twin, want, port) }()
		defer func() { again = <-done && again }()
	}
	return c.createOnce(by, want, port)
}

func (c *simClient) createOnce(by *simHost, want wanted, port string) (again bool) {
	ctx, cancel := c.patience()
	defer cancel()
	call, name, calm := c.history.now(), "name "+want.name, c.calmSince()
	id, err := by.create(ctx, want)
	c.note(c.id, "create %+v by %s: %.12s %v", want, by.name, id, err)
	if err != nil {
		switch said := err.Error(); {
		case strings.Contains(said, "is already in use by"):
			c.history.add(c.id, acquire, denied, call, name)
			return false
		case port != "" && strings.Contains(after(said, " free: "), want.port):
			c.history.add(c.id, acquire, denied, call, port)
			c.history.add(c.id, acquire, unheard, call, name)
			return false
		}
		if said := err.Error(); strings.Contains(said, "needs an ID of its own") {
			c.wrong("create %s was carried out twice: %v", want.name, err)
		}
		c.history.add(c.id, acquire, unheard, call, name, port)
		return true
	}
	c.history.add(c.id, acquire, granted, call, name, port)
	w := &work{id: id, name: want.name, port: port, calmly: calm()}
	c.heardLate(w, call)
	c.remember(w, call, want.cpus > 0)
	if err := c.startIt(w); err != nil {
		c.note(c.id, "start %s: %v", w.name, err)
	}
	return false
}

// after returns what follows the words, or nothing.
func after(text, words string) string {
	_, rest, _ := strings.Cut(text, words)
	return rest
}

// scarce says whether the container has a name that all fight for, and remove.
func (w *work) scarce() bool { return strings.HasPrefix(w.name, "scarce") }

// remember keeps what was acknowledged, and was asked for at call. One whose name somebody
// has freed since may be gone.
func (c *simClient) remember(w *work, call int64, pinned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.going = c.swept[w.name] >= call
	c.works = append(c.works, w)
	c.mine = append(c.mine, w)
	c.pin(w.name, pinned && !w.scarce())
}

// pin notes whether the container of that name has cores of its own.
func (w *world) pin(name string, alone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pinned[name] = alone
}

// hasCores says whether the container of that name has cores of its own.
func (w *world) hasCores(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pinned[name]
}

// some returns one of the containers that it made and did not remove.
func (c *simClient) some() *work {
	c.mu.Lock()
	defer c.mu.Unlock()
	there := slices.DeleteFunc(slices.Clone(c.mine), func(w *work) bool { return w.gone || w.going || w.out || w.scarce() })
	if len(there) == 0 {
		return nil
	}
	return there[c.rng.IntN(len(there))]
}

func (c *simClient) start() {
	if w := c.some(); w != nil {
		err := c.startIt(w)
		c.note(c.id, "start %s: %v", w.name, err)
	}
}

// startIt starts a container, and notes since when it runs if that can be learned.
func (c *simClient) startIt(w *work) error {
	ctx, cancel := c.patience()
	defer cancel()
	calm := c.calmSince()
	c.mu.Lock()
	w.halted = false
	c.mu.Unlock()
	if err := c.any().docker().ContainerStart(ctx, w.id, container.StartOptions{}); err != nil {
		if strings.Contains(err.Error(), "already allocated") && !c.besideStrangers(w) {
			c.wrong("start %s: %v", w.name, err)
		}
		c.known(w, err, calm())
		c.mu.Lock()
		w.startable = true
		c.mu.Unlock()
		return err
	}
	in, err := c.any().docker().ContainerInspect(ctx, w.id)
	if err != nil || !in.State.Running {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.unsure {
		w.running = in.State.StartedAt
	}
	return nil
}

func (c *simClient) stop() {
	w := c.some()
	if w == nil {
		return
	}
	c.mu.Lock()
	w.running = ""
	c.mu.Unlock()
	ctx, cancel := c.patience()
	defer cancel()
	none, calm := 0, c.calmSince()
	err := c.any().docker().ContainerStop(ctx, w.id, container.StopOptions{Timeout: &none})
	c.note(c.id, "stop %s: %v", w.name, err)
	c.known(w, err, calm())
	c.mu.Lock()
	defer c.mu.Unlock()
	w.unsure = w.unsure || err != nil
	w.halted = err == nil && !w.startable
}

func (c *simClient) remove() {
	w := c.some()
	if w == nil {
		return
	}
	c.mu.Lock()
	w.going, w.running = true, ""
	c.mu.Unlock()
	for i := range 3 {
		ctx, cancel := c.patience()
		call, calm := c.history.now(), c.calmSince()
		by := c.any()
		err := by.docker().ContainerRemove(ctx, w.id, container.RemoveOptions{Force: true})
		cancel()
		c.note(c.id, "rm %s by %s: %v", w.name, by.name, err)
		if err == nil {
			c.released(w, granted, call)
			c.lingers(w.name, []string{w.port}, call, calm())
			c.history.add(c.id, release, granted, call, w.port)
			c.mu.Lock()
			w.gone, w.freed = true, c.history.now()
			c.mu.Unlock()
			return
		}
		none := strings.Contains(err.Error(), "No such container")
		if none && i == 0 { // which removes nothing
			c.denied(w, calm())
			return
		}
		c.released(w, unheard, call)
		c.lingers(w.name, []string{w.port}, call, calm())
		c.history.add(c.id, release, unheard, call, w.port)
		if none {
			return
		}
	}
}

// known complains of a container that is unknown to somebody, though it was acknowledged and
// nobody removes it. One that was made without a leader is confirmed a little later.
func (c *simClient) known(w *work, err error, calm bool) {
	c.mu.Lock()
	excused := w.going || w.gone || w.out || w.scarce()
	c.mu.Unlock()
	if err != nil && strings.Contains(err.Error(), "No such container") && calm && w.calmly && !excused {
		c.wrong("%s (%.12s) was acknowledged, was removed by nobody, and is unknown: %v", w.name, w.id, err)
	}
}

// denied notes that a container which was acknowledged, and which nobody removed, is
// unknown to somebody: for the moment, where nobody leads.
func (c *simClient) denied(w *work, calm bool) {
	c.mu.Lock()
	w.going = false
	out := w.out
	c.mu.Unlock()
	if calm && !out {
		c.wrong("%s (%.12s) was acknowledged, was removed by nobody, and is denied", w.name, w.id)
	}
}

// released notes that a container has given its name up, or may have. Which name that was
// is not known if nothing was heard of a rename.
func (c *simClient) released(w *work, said holdingSaid, call int64) {
	names := strings.Split(w.name, " or ")
	if len(names) > 1 {
		said = unheard
	}
	for _, name := range names {
		c.history.add(c.id, release, said, call, "name "+name)
	}
}

// lingers notes that what a container held may be held a little longer, though it is gone:
// where nobody leads its host tells the ledger later.
func (c *simClient) lingers(name string, ports []string, call int64, calm bool) {
	if !calm {
		c.history.add(c.id, acquire, unheard, call, ports...)
		for _, one := range strings.Split(name, " or ") {
			c.history.add(c.id, acquire, unheard, call, "name "+one)
		}
	}
}

// removeScarce frees a name that all fight for, whoever has it, and with it the port.
func (c *simClient) removeScarce() {
	name := fmt.Sprint("scarce", c.rng.IntN(scarce))
	ctx, cancel := c.patience()
	defer cancel()
	call, calm, by := c.history.now(), c.calmSince(), c.any()
	before := c.sweep(name, 0)
	err := by.docker().ContainerRemove(ctx, name, container.RemoveOptions{Force: true})
	c.note(c.id, "rm %s by %s: %v", name, by.name, err)
	if err != nil && strings.Contains(err.Error(), "No such container") && calm() {
		c.history.add(c.id, release, denied, call, "name "+name)
		return
	}
	var ports []string
	for _, w := range c.called(name) {
		ports = append(ports, w.port)
	}
	c.history.add(c.id, release, unheard, call, ports...)
	c.lingers(name, ports, call, calm())
	if err != nil {
		c.sweep(name, math.MaxInt64)
		c.history.add(c.id, release, unheard, call, "name "+name)
		return
	}
	c.sweep(name, c.history.now())
	c.history.add(c.id, release, granted, call, "name "+name)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range before { // this one is gone, and whoever had the name before it
		w.gone, w.freed = true, c.history.now()
	}
}

// sweep notes that containers of the name may be gone that are asked for until then, and
// returns those of which nobody knows that they are.
func (s *simulation) sweep(name string, until int64) []*work {
	some := s.called(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept[name] = max(s.swept[name], until)
	for _, w := range some {
		w.going = true
	}
	return some
}

// called returns the containers of this name of which nobody knows that they are gone.
func (s *simulation) called(name string) []*work {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.works), func(w *work) bool { return w.name != name || w.gone })
}

// besideStrangers says whether the container may be on a machine that is, or was, out of the
// cluster: what that has is not as the cluster made it.
func (s *simulation) besideStrangers(w *work) bool {
	return slices.ContainsFunc(s.everyone(), func(m *simHost) bool {
		s.mu.Lock()
		out := s.reborn[m.name] && w.mayBeOn(m)
		s.mu.Unlock()
		return out && !s.elsewhere(m)[w.id]
	})
}

func (c *simClient) rename() {
	w := c.some()
	if w == nil {
		return
	}
	c.count++
	to := fmt.Sprintf("c%d-%d", c.id, c.count)
	ctx, cancel := c.patience()
	defer cancel()
	call, by, said := c.history.now(), c.any(), granted
	err := by.docker().ContainerRename(ctx, w.id, to)
	c.note(c.id, "rename %s to %s by %s: %v", w.name, to, by.name, err)
	if err != nil {
		said = unheard
	}
	c.pin(to, c.hasCores(w.name))
	c.released(w, said, call)
	c.history.add(c.id, acquire, said, call, "name "+to)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || strings.Contains(w.name, " or ") { // what was not heard of may still come
		to = w.name + " or " + to
	}
	w.name = to
}

// commit makes an image of one of its containers.
func (c *simClient) commit() {
	w := c.some()
	if w == nil {
		return
	}
	c.count++
	name := fmt.Sprintf("image%d:%d", c.id, c.count)
	ctx, cancel := c.patience()
	defer cancel()
	by := c.any()
	id, err := by.commit(ctx, w.id, name)
	c.note(c.id, "commit %s as %s by %s: %.19s %v", w.name, name, by.name, id, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.images[name] = id
	}
}

// someImage returns busybox, or an image that was committed and that nobody removes.
func (c *simClient) someImage() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := slices.Sorted(maps.Keys(c.images))
	if len(names) == 0 || c.rng.IntN(3) > 0 {
		return busybox
	}
	name := names[c.rng.IntN(len(names))]
	c.used[name] = true
	return name
}

// removeImage removes an image that no container was made of.
func (c *simClient) removeImage() {
	c.mu.Lock()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(c.images)), func(name string) bool { return c.used[name] })
	if len(names) == 0 {
		c.mu.Unlock()
		return
	}
	name := names[c.rng.IntN(len(names))]
	delete(c.images, name)
	c.mu.Unlock()
	ctx, cancel := c.patience()
	defer cancel()
	by := c.any()
	_, err := by.docker().ImageRemove(ctx, name, image.RemoveOptions{})
	c.note(c.id, "rmi %s by %s: %v", name, by.name, err)
	if err == nil {
		c.mu.Lock()
		c.noImages[name] = true
		c.mu.Unlock()
	}
}

// look lists all containers somewhere.
func (c *simClient) look() { c.list(c.id, c.any()) }

// list looks at all containers, which a live agent answers soon, whatever is broken.
func (s *simulation) list(who int, by *simHost) {
	life := by.alive()
	s.mu.Lock()
	net := s.weather
	began := time.Now()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	_, err := by.docker().ContainerList(ctx, container.ListOptions{All: true})
	took := time.Since(began)
	s.note(who, "ps by %s: %v after %v", by.name, err, took)
	s.mu.Lock()
	starting, leaving := began.Sub(s.births[by.name]) < startWithin, s.reborn[by.name] // or it ends meanwhile
	s.mu.Unlock()
	if life == nil || by.alive() != life || len(by.ended) > 0 || starting || leaving { // who has ended is to say why
		return
	}
	if err != nil {
		s.wrong("ps by %s, whose agent ran: %v", by.name, err)
	}
	s.mu.Lock()
	now := s.weather
	s.mu.Unlock()
	if trips := 18 * max(net.Delay+net.Jitter, now.Delay+now.Jitter); took > listWithin+trips {
		s.wrong("ps by %s took %v", by.name, took)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if who == -2 && net == s.plan.Net && now == net {
		s.outcome.Alone = append(s.outcome.Alone, took.Seconds())
	}
	s.outcome.Listed = append(s.outcome.Listed, took.Seconds())
}
