package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// A compose project comes one container after another, and nobody says at its
// beginning what all of it needs. Where the next one finds no room beside the others,
// and none of them has run yet, they move together to a host that has room for all.

const (
	// decideTimeout bounds the decision to move, and then the move in the ledger, which is
	// asked for moveTries times until there is an answer.
	decideTimeout = 30 * time.Second
	moveTries     = 4
	// settleEvery is how often it is looked whether the creates of the group that are
	// under way are done, groupTimeout for how long: one may wait for its image.
	settleEvery  = 100 * time.Millisecond
	groupTimeout = 10 * time.Second
)

func isFull(err error) bool {
	var refusal *ledger.Refusal
	return errors.As(err, &refusal) && (refusal.Code == ledger.Full || refusal.Code == ledger.Invalid)
}

// relocate moves the containers that hold an order where there is no room for it, so that
// it is worth another try. Else it returns what the client is to hear: full, as it was
// refused, unless it is not known whether they move.
func (a *API) relocate(ctx context.Context, o *order, full error) error {
	life := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(life, decideTimeout)
	defer cancel()
	group := a.settledGroup(ctx, o)
	if len(group) == 0 {
		return full
	}
	select {
	case a.relocating <- struct{}{}:
		defer func() { <-a.relocating }()
	case <-ctx.Done():
		return full
	}
	bodies := make([][]byte, len(group))
	for i, p := range group {
		var err error
		if bodies[i], err = a.unstarted(ctx, p); err != nil {
			a.log.Debug("a project stays where it is", "container", p.Name, "err", err)
			return full
		}
	}
	move := &ledger.Move{Beside: &o.reserve, Candidates: a.roomFor(group, o)}
	for _, p := range group {
		move.Placements = append(move.Placements, p.ID)
	}
	index, refusal, err := a.move(life, move)
	if err != nil {
		return fmt.Errorf("create %s: host %s has no room for it, and whether the containers that hold it there move to another one is not known, see \"ddocker ps -a\" for where they are: %w",
			o.reserve.Name, a.hosts.name(group[0].Node), err)
	}
	if refusal != nil {
		a.log.Debug("a project stays where it is", "err", refusal)
		return full
	}
	var carrying sync.WaitGroup
	for i, old := range group {
		carrying.Go(func() {
			if err := a.carry(life, old, index, bodies[i]); err != nil {
				a.log.Warn("a container of a project could not be moved with it", "container", old.Name, "err", err)
			}
		})
	}
	carrying.Wait()
	return nil
}

// move has the ledger move a group, and returns when this node knows of it. A move without
// an answer may be made later, when nobody carries the containers after it: so it is asked
// for again, under the same ID, which makes it once. An error is that it is not known.
func (a *API) move(ctx context.Context, m *ledger.Move) (index uint64, refusal *ledger.Refusal, err error) {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	command := ledger.Command{ID: newID(), Move: m}
	for range moveTries {
		var result ledger.Result
		if result, index, err = a.cfg.Log.Propose(ctx, command); err != nil {
			continue
		}
		// Gone: it was made, and the first of the group has been removed since.
		if result.Refusal != nil && result.Refusal.Code != ledger.Gone {
			return 0, result.Refusal, nil
		}
		if err = a.cfg.Log.Wait(ctx, index); err == nil {
			return index, nil, nil
		}
	}
	return 0, nil, err
}

// settledGroup returns the group that holds the order, when all of it is made.
func (a *API) settledGroup(ctx context.Context, o *order) (group []*ledger.Placement) {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		a.cfg.Log.View(func(l *ledger.Ledger) { group = l.Group(&o.reserve) })
		if !slices.ContainsFunc(group, func(p *ledger.Placement) bool { return p.Container == "" }) {
			return group
		}
		if !a.hosts.answers(group[0].Node) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// roomFor returns the hosts that may take the whole group, best first.
func (a *API) roomFor(group []*ledger.Placement, o *order) (nodes []string) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		hosts := slices.DeleteFunc(slices.Clone(l.Hosts()), func(h *sched.Host) bool {
			if h.ID == group[0].Node || !a.hosts.answers(h.ID) {
				return true
			}
			return slices.ContainsFunc(group, func(p *ledger.Placement) bool {
				_, ok := p.Request.Admits(h)
				return !ok
			})
		})
		best, _ := sched.Pick(hosts, nil, &o.reserve.Request, len(hosts))
		for _, h := range best {
			nodes = append(nodes, h.ID)
		}
	})
	return nodes
}

// unstarted returns a body that makes the placement's container anew. It fails for one
// that has ever run, or into which something was copied: that would be lost.
func (a *API) unstarted(ctx context.Context, p *ledger.Placement) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	answer, err := a.request(ctx, get, p.Node, "/containers/"+p.Container+"/json", nil, nil)
	if err != nil {
		return nil, err
	}
	var in struct {
		State           struct{ Status string }
		Config          row
		HostConfig      row
		NetworkSettings struct{ Networks map[string]row }
	}
	if err := json.Unmarshal(answer.body.Bytes(), &in); err != nil || answer.status != http.StatusOK {
		return nil, fmt.Errorf("inspect container %s: status %d", p.Name, answer.status)
	}
	if in.State.Status != "created" {
		return nil, fmt.Errorf("container %s has run: %w", p.Name, errInUse)
	}
	dir, _ := text(in.Config, "WorkingDir") // which the engine makes
	if err := a.untouched(ctx, p, dir); err != nil {
		return nil, err
	}
	short := ledger.Short(p.Container)
	if name, _ := text(in.Config, "Hostname"); name == short {
		delete(in.Config, "Hostname") // the engine's own choice
	}
	delete(in.HostConfig, "CpusetCpus") // the old host's
	endpoints := map[string]row{}
	for name, at := range in.NetworkSettings.Networks {
		endpoints[name] = endpoint(at, short)
	}
	in.Config["HostConfig"] = raw(in.HostConfig)
	in.Config["NetworkingConfig"] = raw(map[string]any{"EndpointsConfig": endpoints})
	return raw(in.Config), nil
}

// errInUse says that a container cannot be made anew elsewhere.
var errInUse = errors.New("it stays where it is")

// untouched fails where a container has other files than its image, but for its working
// directory.
func (a *API) untouched(ctx context.Context, p *ledger.Placement, dir string) error {
	answer, err := a.request(ctx, get, p.Node, "/containers/"+p.Container+"/changes", nil, nil)
	if err != nil {
		return err
	}
	var changes []struct{ Path string }
	if err := json.Unmarshal(answer.body.Bytes(), &changes); err != nil || answer.status != http.StatusOK {
		return fmt.Errorf("see what is in container %s: status %d", p.Name, answer.status)
	}
	for _, c := range changes {
		if !strings.HasPrefix(path.Clean("/"+dir)+"/", strings.TrimSuffix(c.Path, "/")+"/") {
			return fmt.Errorf("container %s has %s of its own: %w", p.Name, c.Path, errInUse)
		}
	}
	return nil
}

// endpoint is what was asked of a container's place on a network, without what the
// engine gave it.
func endpoint(at row, short string) row {
	asked := row{}
	for _, key := range []string{"IPAMConfig", "Links", "DriverOpts", "GwPriority", "MacAddress"} {
		if at[key] != nil && string(at[key]) != `""` {
			asked[key] = at[key]
		}
	}
	var aliases []string
	json.Unmarshal(at["Aliases"], &aliases) // none is none
	aliases = slices.DeleteFunc(aliases, func(alias string) bool { return alias == short })
	if len(aliases) > 0 {
		asked["Aliases"] = raw(aliases)
	}
	return asked
}

// carry makes the container of a placement that has moved, and removes the old one,
// which its host does too if this does not come to its end.
func (a *API) carry(ctx context.Context, old *ledger.Placement, index uint64, body []byte) error {
	var now *ledger.Placement
	a.cfg.Log.View(func(l *ledger.Ledger) { now = l.Placement(old.ID) })
	if now == nil {
		return errors.New("it was removed meanwhile")
	}
	first, later, err := firstEndpoint(body)
	if err != nil {
		return err
	}
	answer, err := a.makeOn(ctx, now, index, "/containers/create", &order{body: first})
	if err != nil {
		return err
	}
	if answer.status != http.StatusCreated {
		return fmt.Errorf("host %s: %s", a.hosts.name(now.Node), strings.TrimSpace(answer.body.String()))
	}
	var made struct{ ID string }
	if err := json.Unmarshal(answer.body.Bytes(), &made); err != nil {
		return err
	}
	for name, at := range later {
		body := raw(map[string]any{"Container": made.ID, "EndpointConfig": at})
		if connected, err := a.request(ctx, post, now.Node, "/networks/"+name+"/connect", nil, body); err != nil || connected.status != http.StatusOK {
			a.log.Warn("a container that moved is not on one of its networks", "container", now.Name, "network", name, "err", err)
		}
	}
	if !a.confirmed(ctx, now.ID, made.ID) {
		return errors.New("it is made and not confirmed yet: the old one stays until it is")
	}
	if _, err := a.unstarted(ctx, old); err != nil && !errors.Is(err, errInUse) {
		return err // the old host does not answer: it removes the old one itself when it is back
	} else if err != nil {
		// Somebody was faster: what runs stays, as one made outside, and the new one goes.
		_, fault := a.request(ctx, del, now.Node, "/containers/"+made.ID, nil, nil)
		return errors.Join(err, fault)
	}
	gone, err := a.request(ctx, del, old.Node, "/containers/"+old.Container, map[string][]string{"v": {"1"}}, nil)
	if err == nil && gone.status/100 != 2 && gone.status != http.StatusNotFound {
		err = fmt.Errorf("remove it from host %s: status %d", a.hosts.name(old.Node), gone.status)
	}
	return err
}

// confirmed says whether the ledger knows the container as the placement's. As long as it
// does not, it takes what the placement had before for what there is.
func (a *API) confirmed(ctx context.Context, placement, container string) (is bool) {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	if a.cfg.Log.Read(ctx) != nil {
		return false
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		p := l.Placement(placement)
		is = p != nil && p.Container == container
	})
	return is
}

// firstEndpoint leaves a body the one network that its mode names: engines before 25
// take no more in a create. The others are connected later.
func firstEndpoint(body []byte) (first []byte, later map[string]row, err error) {
	var top row
	var networking struct{ EndpointsConfig map[string]row }
	var host struct{ NetworkMode string }
	err = errors.Join(json.Unmarshal(body, &top), json.Unmarshal(top["NetworkingConfig"], &networking), json.Unmarshal(top["HostConfig"], &host))
	if err != nil {
		return nil, nil, err
	}
	later = networking.EndpointsConfig
	kept := map[string]row{}
	if at, ok := later[host.NetworkMode]; ok {
		kept[host.NetworkMode] = at
		delete(later, host.NetworkMode)
	}
	if slices.Contains([]string{"default", "bridge", "host", "none"}, host.NetworkMode) {
		delete(later, "bridge")
		delete(later, "host")
		delete(later, "none")
	}
	top["NetworkingConfig"] = raw(map[string]any{"EndpointsConfig": kept})
	return raw(top), later, nil
}
