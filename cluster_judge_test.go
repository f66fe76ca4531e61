package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// wish is what a test wants a container to have.
type wanted struct {
	name  string
	cpus  float64
	gpus  int
	ports int    // for the cluster to choose
	port  string // a named one
	on    string // host
	image string // busybox when empty
}

// create makes a container through h's agent, and returns its ID.
func (h *host) create(ctx context.Context, want wanted) (string, error) {
	c := &container.Config{Image: cmp.Or(want.image, busybox), Labels: map[string]string{}}
	hc := &container.HostConfig{}
	hc.NanoCPUs = int64(want.cpus * 1e9)
	if want.gpus > 0 {
		hc.DeviceRequests = []container.DeviceRequest{{Count: want.gpus, Capabilities: [][]string{{"gpu"}}}}
	}
	if want.ports > 0 {
		c.Labels["ddocker.ports"] = strconv.Itoa(want.ports)
	}
	if want.on != "" {
		c.Labels["ddocker.node"] = want.on
	}
	if want.port != "" {
		hc.PortBindings = nat.PortMap{"80/tcp": {{HostPort: want.port}}}
		c.ExposedPorts = nat.PortSet{"80/tcp": {}}
	}
	r, err := h.docker().ContainerCreate(ctx, c, hc, nil, nil, want.name)
	return r.ID, err
}

// run creates a container through h's agent and starts it, or fails the test.
func (h *host) mustRun(want wanted) (id string) {
	h.of.t.Helper()
	id, err := h.create(h.of.soon(), want)
	if err == nil {
		err = h.docker().ContainerStart(h.of.soon(), id, container.StartOptions{})
	}
	if err != nil {
		h.of.t.Fatalf("run %s by %s: %v", want.name, h.name, err)
	}
	return id
}

// soon is a context that ends in two virtual minutes.
func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

// list is docker ps -a by h's agent, as names.
func (h *host) list() []string {
	h.of.t.Helper()
	rows, err := h.docker().ContainerList(h.of.soon(), container.ListOptions{All: true})
	if err != nil {
		h.of.t.Fatalf("list containers by %s: %v", h.name, err)
	}
	var names []string
	for _, r := range rows {
		names = append(names, strings.TrimPrefix(r.Names[0], "/"))
	}
	slices.Sort(names)
	return names
}

// replica returns the bytes of h's ledger.
func (h *host) replica() []byte {
	var b bytes.Buffer
	h.inside().log.View(func(l *ledger.Ledger) {
		if _, err := l.Snapshot().WriteTo(&b); err != nil {
			h.of.t.Error(err)
		}
	})
	return b.Bytes()
}

// placements returns all that h's ledger says is held.
func (h *host) placements() []*ledger.Placement { return placedBy(h.inside()) }

func placedBy(a *agent) (all []*ledger.Placement) {
	a.log.View(func(l *ledger.Ledger) {
		for _, id := range l.NodeIDs() {
			all = append(all, l.Placed(id)...)
		}
	})
	return all
}

// alike waits until all replicas are equal byte by byte.
func (w *world) alike() {
	w.t.Helper()
	w.eventually("all replicas are equal", func() bool {
		first := w.up()[0].replica()
		return !slices.ContainsFunc(w.up(), func(h *host) bool { return !bytes.Equal(h.replica(), first) })
	})
}

// settles waits until the ledger has what the engines have, and the other way round, for
// as long as it may take that what a crash left half done is taken back.
func (w *world) settles() {
	w.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end) && len(w.astray(w.up()[0].placements(), nil)) > 0; {
		time.Sleep(5 * time.Second)
	}
}

// judge says what is wrong with a cluster that had its time to settle: what is
// held twice, what the ledger has and the engines do not, and the other way
// round. Acknowledged are the IDs of the containers that clients were told of,
// by name.
func (w *world) judge(acknowledged map[string]string) {
	w.t.Helper()
	w.alike()
	placed := w.up()[0].placements()
	for _, wrong := range slices.Concat(doubles(placed), w.astray(placed, nil)) {
		w.t.Error(wrong)
	}
	byContainer := map[string]string{}
	for _, p := range placed {
		byContainer[p.Container] = p.Name
	}
	for _, name := range slices.Sorted(maps.Keys(acknowledged)) {
		if byContainer[acknowledged[name]] != name {
			w.t.Errorf("%s was acknowledged as %.12s, and is not held", name, acknowledged[name])
		}
	}
}

// violations returns what the engines saw held by two containers that ran.
func (w *world) violations() (wrong []string) {
	for _, h := range w.hosts {
		for _, v := range h.twin.Violations() {
			if !w.mayShare(v) {
				wrong = append(wrong, "on "+h.name+" "+v)
			}
		}
	}
	return wrong
}

// mayShare says whether a violation is one of cores of which one holder has none alone.
func (w *world) mayShare(violation string) bool {
	_, holders, _ := strings.Cut(violation, " is held by ")
	one, other, _ := strings.Cut(holders, " and ")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mixed && strings.HasPrefix(violation, "core ") && !(w.pinned[one] && w.pinned[other])
}

// doubles names what the ledger has given twice.
func doubles(placed []*ledger.Placement) (wrong []string) {
	holder := map[string]string{}
	hold := func(what, name string) {
		if other, taken := holder[what]; taken {
			wrong = append(wrong, fmt.Sprintf("%s is held by %s and %s", what, other, name))
		}
		holder[what] = name
	}
	for _, p := range placed {
		hold("the name "+p.Name, p.ID)
		for _, b := range p.Grant.Ports {
			hold(fmt.Sprintf("port %d of %s", b.Host, p.Node), p.Name)
		}
		for _, core := range p.Grant.Cores.List() {
			hold(fmt.Sprintf("core %d of %s", core, p.Node), p.Name)
		}
		for _, gpu := range p.Grant.GPUs {
			hold("GPU "+gpu, p.Name)
		}
	}
	return wrong
}

// astray names the placements without a container and the cluster's containers
// without a placement, but for those that are excused.
func (w *world) astray(placed []*ledger.Placement, excused map[string]bool) (wrong []string) {
	byContainer := map[string]*ledger.Placement{}
	for _, p := range placed {
		if p.Container == "" {
			wrong = append(wrong, fmt.Sprintf("%s is reserved and was never made", p.Name))
		} else {
			byContainer[p.Container] = p
		}
	}
	for _, h := range w.hosts {
		rows, err := h.engine().ContainerList(w.soon(), container.ListOptions{All: true})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range rows {
			id := r.Labels["ddocker.placement"]
			switch p := byContainer[r.ID]; {
			case id == "" || excused[r.ID]:
			case p == nil || p.ID != id:
				wrong = append(wrong, fmt.Sprintf("the engine of %s has %s of placement %s, which the ledger does not know", h.name, r.Names[0], id))
			case r.Names[0] != "/"+p.Name:
				wrong = append(wrong, fmt.Sprintf("the engine of %s calls %s what is %s in the ledger", h.name, r.Names[0], p.Name))
			case slices.ContainsFunc(r.Ports, func(published container.Port) bool {
				return published.PublicPort > 0 && !slices.Contains(hostPorts([]*ledger.Placement{p}), int(published.PublicPort))
			}):
				wrong = append(wrong, fmt.Sprintf("%s publishes %v, and holds %v", p.Name, r.Ports, p.Grant.Ports))
			}
			delete(byContainer, r.ID)
		}
	}
	for _, p := range byContainer {
		wrong = append(wrong, fmt.Sprintf("%s is held for a container that is gone", p.Name))
	}
	return wrong
}

// hostPorts returns the ports granted to the containers, in order.
func hostPorts(placed []*ledger.Placement) []int {
	var all []int
	for _, p := range placed {
		for _, b := range p.Grant.Ports {
			all = append(all, int(b.Host))
		}
	}
	slices.Sort(all)
	return all
}

func port(n uint16) sched.Port { return sched.Port{Number: n, Proto: "tcp"} }

// token is what "ddocker token" prints on h.
func (h *host) token() string {
	h.of.t.Helper()
	var reply struct{ Token string }
	h.of.eventually(h.name+" hands out a token", func() bool { return h.post("/ddocker/tokens", &reply) == nil })
	return reply.Token
}

// post sends an empty POST to the agent's socket.
func (h *host) post(path string, into any) error { return h.ask(http.MethodPost, path, into) }

// ask sends an empty request to the agent's socket.
func (h *host) ask(method, path string, into any) error {
	req, err := http.NewRequestWithContext(h.of.soon(), method, "http://"+net.JoinHostPort(h.ip, socketPort)+path, nil)
	if err != nil {
		return err
	}
	resp, err := h.of.web.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = errors.New(string(text))
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// outsider runs a container on h's engine behind the agent's back.
func (h *host) outsider(name, port, cores string) (id string) {
	h.of.t.Helper()
	c := &container.Config{Image: busybox, ExposedPorts: nat.PortSet{"80/tcp": {}}}
	hc := &container.HostConfig{PortBindings: nat.PortMap{"80/tcp": {{HostPort: port}}}}
	hc.CpusetCpus = cores
	r, err := h.engine().ContainerCreate(h.of.soon(), c, hc, nil, nil, name)
	if err == nil {
		err = h.engine().ContainerStart(h.of.soon(), r.ID, container.StartOptions{})
	}
	if err != nil {
		h.of.t.Fatal(err)
	}
	return r.ID
}

// ledgerHolds says whether the ports of the named host count as taken.
func (a *agent) ledgerHolds(name string, ports ...sched.Port) (all bool) {
	a.log.View(func(l *ledger.Ledger) {
		held := &l.Host(l.NodeNamed(name).Node).Held
		all = !slices.ContainsFunc(ports, func(p sched.Port) bool { return !held.HasPort(p) })
	})
	return all
}
