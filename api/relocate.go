package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// A compose project comes one container after another, and nobody says at its
// beginning what all of it needs. Where the next one finds no room beside the others,
// and none of them has run yet, they move together to a host that has room for all.

// relocateTimeout bounds a relocation, settleEvery how often it looks whether the
// creates of the group that are under way are done.
const (
	relocateTimeout = 2 * time.Minute
	settleEvery     = 100 * time.Millisecond
)

func isFull(err error) bool {
	var refusal *ledger.Refusal
	return errors.As(err, &refusal) && (refusal.Code == ledger.Full || refusal.Code == ledger.Invalid)
}

// relocate moves the containers that hold an order where there is no room for it, and
// says whether it did, so that it is worth another try.
func (a *API) relocate(ctx context.Context, o *order) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relocateTimeout)
	defer cancel()
	select {
	case a.relocating <- struct{}{}:
		defer func() { <-a.relocating }()
	case <-ctx.Done():
		return false
	}
	group := a.settledGroup(ctx, o)
	if len(group) == 0 {
		return false
	}
	bodies := make([][]byte, len(group))
	for i, p := range group {
		var err error
		if bodies[i], err = a.unstarted(ctx, p); err != nil {
			a.log.Debug("a project stays where it is", "container", p.Name, "err", err)
			return false
		}
	}
	move := &ledger.Move{Beside: &o.reserve, Candidates: a.roomFor(group, o)}
	for _, p := range group {
		move.Placements = append(move.Placements, p.ID)
	}
	index, err := a.decide(ctx, ledger.Command{Move: move})
	if err != nil {
		a.log.Debug("a project stays where it is", "err", err)
		return false
	}
	for i, old := range group {
		if err := a.carry(ctx, old, index, bodies[i]); err != nil {
			a.log.Warn("a container of a project could not be moved with it", "container", old.Name, "err", err)
		}
	}
	return true
}

// settledGroup returns the group that holds the order, when all of it is made.
func (a *API) settledGroup(ctx context.Context, o *order) (group []*ledger.Placement) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		a.cfg.Log.View(func(l *ledger.Ledger) { group = l.Group(&o.reserve) })
		if !slices.ContainsFunc(group, func(p *ledger.Placement) bool { return p.Container == "" }) {
			return group
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
// that has ever run: what it has written would be lost.
func (a *API) unstarted(ctx context.Context, p *ledger.Placement) ([]byte, error) {
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
		return nil, fmt.Errorf("container %s has run", p.Name)
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

// endpoint is what was asked of a container's place on a network, without what the
// engine gave it.
func endpoint(at row, short string) row {
	asked := row{}
	for _, key := range []string{"IPAMConfig", "Links", "DriverOpts", "GwPriority"} {
		if at[key] != nil {
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
	_, err = a.request(ctx, del, old.Node, "/containers/"+old.Container, map[string][]string{"v": {"1"}}, nil)
	return err
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
