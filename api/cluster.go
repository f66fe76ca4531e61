package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"ddocker/api/options"
	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/sched"
	"ddocker/settings"
)

// nodeRow is one node in /ddocker/nodes.
type nodeRow struct {
	ID, Name, Address  string
	State              string // alive, drained, unready (see Reason) or down
	Role               string // leader, voter or nonvoter; reader if it holds no log
	Version, Engine    string
	Cores              int
	FreeMilliCPU       int64
	Memory, FreeMemory int64 // bytes
	GPUs               []gpuRow
	Containers         int
	Reason             string // why it takes no containers now, or does not offer its GPUs
	Store              string // how images are read from its engine
	Labels             map[string]string
}

type gpuRow struct {
	UUID, Index, Model string
	Profile            string // of a MIG device
	Memory             int64  // bytes
	Free               bool
	Closed             string // why it takes nothing new, whoever has it
}

func (a *API) listNodes(w http.ResponseWriter, c *call) {
	roles := a.roles()
	rows := []nodeRow{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			rows = append(rows, a.nodeRow(l, n, roles))
		}
	})
	reply(w, http.StatusOK, rows)
}

func (a *API) nodeRow(l *ledger.Ledger, n *ledger.Node, roles map[string]string) nodeRow {
	h := l.Host(n.Node)
	r := nodeRow{
		ID: n.Node, Name: n.Name, Address: n.Address, State: "alive", Role: cmp.Or(roles[n.Node], string(consensus.Reading)),
		Version: n.Version, Engine: n.Engine, Cores: h.Cores.Count(), FreeMilliCPU: h.FreeMilliCPU(),
		Memory: h.Memory, FreeMemory: h.FreeMemory(), GPUs: []gpuRow{}, Containers: h.Held.Containers, Reason: h.Closed,
		Store: n.Observed.Store, Labels: map[string]string{},
	}
	maps.Copy(r.Labels, n.Labels)
	switch {
	case n.Node != a.cfg.Self && !a.cfg.Alive(n.Node):
		r.State = "down"
	case n.Observed.Closed != "":
		r.State, r.Reason = "unready", n.Observed.Closed
	case n.Drained != "":
		r.State = "drained"
	}
	for _, why := range withheld(n) {
		r.Reason = strings.TrimPrefix(r.Reason+"; "+why, "; ")
	}
	for _, card := range h.Cards {
		r.GPUs = append(r.GPUs, gpuRow{
			card.UUID, card.Index, card.Model, card.Profile, card.Memory,
			card.Closed == "" && !h.Held.HasGPU(card.UUID), card.Closed,
		})
	}
	return r
}

// withheld says why the node does not offer cards that it shows: "2 GPUs withheld: …".
func withheld(n *ledger.Node) (reasons []string) {
	var whys []string
	count := map[string]int{}
	for _, c := range n.Observed.Cards {
		if slices.ContainsFunc(n.Capacity.Cards, func(r sched.Card) bool { return r.UUID == c.UUID }) {
			continue
		}
		if count[c.Why]++; count[c.Why] == 1 {
			whys = append(whys, c.Why)
		}
	}
	for _, why := range whys {
		gpus := "GPUs"
		if count[why] == 1 {
			gpus = "GPU"
		}
		reasons = append(reasons, fmt.Sprintf("%d %s %s", count[why], gpus, why))
	}
	return reasons
}

func (a *API) roles() map[string]string {
	roles := map[string]string{}
	for _, s := range a.cfg.Raft.Servers() {
		roles[s.ID] = string(s.Role)
	}
	return roles
}

func (a *API) showSettings(w http.ResponseWriter, c *call) {
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	if err := a.cfg.Log.Read(ctx); err != nil {
		a.log.Debug("settings may be old", "err", err) // better than none, without a quorum
	}
	var s settings.Settings
	a.cfg.Log.View(func(l *ledger.Ledger) { s = l.Settings() })
	if c.URL.Query().Get("format") == "file" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(s.Format())
		return
	}
	reply(w, http.StatusOK, s)
}

// maxSettings bounds info.json, in bytes.
const maxSettings = 1 << 20

func (a *API) applySettings(w http.ResponseWriter, c *call) {
	text, err := io.ReadAll(http.MaxBytesReader(w, c.Body, maxSettings))
	if err != nil {
		fail(w, http.StatusBadRequest, "read the settings: %s", err)
		return
	}
	name := c.URL.Query().Get("name")
	if name == "" {
		name = "info.json"
	}
	s, err := ReadSettings(name, text)
	if err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	if a.proposed(w, c, ledger.Command{Configure: &s.Settings}) {
		reply(w, http.StatusOK, s.Settings)
	}
}

// ReadSettings reads an info.json, its additional_options included.
func ReadSettings(name string, text []byte) (*settings.File, error) {
	file, err := settings.Parse(name, text)
	if err != nil {
		return nil, err
	}
	_, err = options.Parse(file.Options)
	var bad *options.Error
	if errors.As(err, &bad) {
		return nil, file.OptionError(bad.Line, bad.Err)
	}
	return file, err
}

// serverRow is one node in /ddocker/raft.
type serverRow struct {
	ID, Name, Address, Role string
	Alive                   bool
}

func (a *API) raftStatus(w http.ResponseWriter, _ *call) {
	st := a.cfg.Raft.Status()
	leader := ""
	servers := []serverRow{}
	for _, s := range a.cfg.Raft.Servers() {
		row := serverRow{ID: s.ID, Name: s.ID, Role: string(s.Role), Alive: s.ID == a.cfg.Self || a.cfg.Alive(s.ID)}
		a.cfg.Log.View(func(l *ledger.Ledger) {
			if n := l.Node(s.ID); n != nil {
				row.Name, row.Address = n.Name, n.Address
			}
		})
		if s.ID == st.Leader {
			leader = row.Name
		}
		servers = append(servers, row)
	}
	contact := "never"
	switch {
	case st.Leader == st.ID:
		contact = "0s"
	case !st.LastContact.IsZero():
		contact = time.Since(st.LastContact).Round(time.Millisecond).String()
	}
	reply(w, http.StatusOK, map[string]any{
		"Leader": leader, "Term": st.Term, "State": st.State, "Index": st.LastIndex, "Commit": st.CommitIndex,
		"Applied": st.AppliedIndex, "LastContact": contact, "Voters": len(st.Voters), "Servers": servers,
	})
}

func (a *API) transferLeader(w http.ResponseWriter, c *call) {
	id := ""
	if to := c.URL.Query().Get("to"); to != "" {
		a.cfg.Log.View(func(l *ledger.Ledger) {
			if n := l.NodeNamed(to); n != nil {
				id = n.Node
			}
		})
		if id == "" {
			fail(w, http.StatusNotFound, "No such node: %s: see \"ddocker nodes\"", to)
			return
		}
	}
	err := a.cfg.Raft.TransferLeadership(c.Context(), id)
	if err == nil {
		err = a.cfg.Log.Read(c.Context()) // the new leader leads
	}
	if err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) snapshot(w http.ResponseWriter, c *call) {
	if err := a.cfg.Raft.Snapshot(c.Context()); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// smi passes on what nvidia-smi says on a host.
func (a *API) smi(w http.ResponseWriter, c *call) {
	if a.onlyOwn(c) {
		failWith(w, forbidden("nvidia-smi shows everybody's processes, and %s sees only what is its own: "+
			"use \"ddocker nvidia-smi\" without a host, or with --format", a.who(c).Name))
		return
	}
	ref := c.URL.Query().Get("host")
	var id string
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if n := l.NodeNamed(ref); n != nil {
			id = n.Node
		}
	})
	switch {
	case id == "":
		fail(w, http.StatusNotFound, "No such node: %s: see \"ddocker nodes\"", ref)
		return
	case id != a.cfg.Self && !a.cfg.Alive(id):
		fail(w, http.StatusServiceUnavailable, "host %s does not answer: see \"ddocker nodes\"", ref)
		return
	}
	out := *c
	out.row = &route{path: pathSMI}
	out.version = ""
	a.send(w, &out, id, "")
}
