package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

// labelNode is the label that names a container's host, added on the way out;
// in a create it asks for that host.
const labelNode = "ddocker.node"

// row is one object of a list, of whose fields only some are looked at.
type row map[string]json.RawMessage

// extra is what the cluster adds to a container in a list, under "Ddocker".
type extra struct {
	Node, Type, Owner string
	Ports             []string
	GPUs              []grantedCard `json:",omitempty"`
	Unreachable       bool
	Lost              bool `json:",omitempty"` // with its host, which was removed
}

// containerRow is one container of the list, as JSON.
type containerRow struct {
	data    []byte
	id      string
	owner   string
	created int64 // second
	stamp   int64 // nanosecond of the placement, which orders those of one second
}

// newestFirst orders rows as an engine does. What no placement tells apart stays as its
// host has it.
func newestFirst(x, y containerRow) int {
	return cmp.Or(cmp.Compare(y.created, x.created), cmp.Compare(y.stamp, x.stamp))
}

// listContainers merges the hosts' own lists. Hosts that do not answer stand
// with what the ledger knows of them.
func (a *API) listContainers(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	f, err := parseFilters(query.Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter: %s", err)
		return
	}
	nodes := f.takeLabel(labelNode)
	a.callNetworks(f)
	ages, err := a.takeAges(c.Context(), f)
	if err != nil {
		failWith(w, err)
		return
	}
	limit, _ := strconv.Atoi(query.Get("limit")) // no number is no limit, as to engines
	if len(ages) > 0 || a.onlyOwn(c) {
		query.Del("limit")
		query.Set("all", strconv.FormatBool(limit > 0 || yes(query.Get("all"))))
	}
	query.Set("filters", f.String())
	var rows []containerRow
	sees := a.sight(c)
	for _, one := range a.hosts.each(c.Context(), c.to(""), query) {
		if len(nodes) > 0 && !slices.Contains(nodes, one.name) {
			continue
		}
		list, err := a.hostRows(one, f)
		if err != nil {
			failWith(w, err)
			return
		}
		list = slices.DeleteFunc(list, func(r containerRow) bool { return !sees(r.owner) })
		rows = append(rows, a.ofAges(c.Context(), one.id, list, ages)...)
	}
	if len(ages) == 0 && (limit > 0 || yes(query.Get("all"))) {
		rows = append(rows, a.lostRows(nodes, f, sees)...)
	}
	slices.SortStableFunc(rows, newestFirst)
	if limit > 0 {
		rows = rows[:min(limit, len(rows))]
	}
	var merged joined
	size := len("[]\n")
	for i := range rows {
		size += len(rows[i].data) + len(",")
	}
	merged.Grow(size)
	merged.WriteByte('[')
	for i := range rows {
		merged.add(rows[i].data)
	}
	merged.WriteString("]\n")
	w.Header().Set("Content-Type", "application/json")
	a.tellCards(w.Header())
	w.Write(merged.Bytes())
}

// holdings are what the ledger, and its agent, say of a host's containers beside what
// its engine does.
type holdings struct {
	placed    map[string]*ledger.Placement // by container, or the placement's own ID
	outsiders []ledger.Outsider
	index     map[string]string // of its cards, by UUID
	busy      map[string]int    // per cent, by UUID
}

func (a *API) holdings(node string) *holdings {
	held := &holdings{placed: map[string]*ledger.Placement{}}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, p := range l.Placed(node) {
			held.placed[cmp.Or(p.Container, p.ID)] = p
		}
		if n := l.Node(node); n != nil {
			held.outsiders, held.index = n.Observed.Containers, cardIndexes(l.Host(node).Cards)
		}
	})
	return held
}

// placement says what the cluster adds to the row of a container that it made.
func (h *holdings) placement(p *ledger.Placement) extra {
	return extra{
		Type: typeWords(&p.Grant, p.Request.GPUs), Owner: p.Owner, Ports: portWords(&p.Grant),
		GPUs: grantedCards(p.Grant.GPUs, h.index, h.busy),
	}
}

// outsider says what the cluster adds to the row of a container from outside.
func (h *holdings) outsider(g *sched.Grant) extra {
	return extra{Type: typeWords(g, nil), Ports: portWords(g), GPUs: grantedCards(g.GPUs, h.index, h.busy)}
}

// hostRows returns one host's containers, completed.
func (a *API) hostRows(one answer, f filters) ([]containerRow, error) {
	known := a.holdings(one.id)
	var list []json.RawMessage
	if one.err == nil {
		var ok bool
		if list, ok = elements(one.body); !ok {
			one.err = errors.New("its list is no JSON")
		}
	}
	var refused *statusError
	if errors.As(one.err, &refused) && refused.status != http.StatusBadGateway {
		return nil, &ledger.Refusal{Code: ledger.Invalid, Message: refused.message}
	}
	if one.err != nil {
		return absentRows(one.host, known, f), nil
	}
	known.busy = readBusy(one.header)
	held := map[string]*sched.Grant{}
	for i := range known.outsiders {
		held[known.outsiders[i].ID] = &known.outsiders[i].Grant
	}
	rows := make([]containerRow, 0, len(list))
	ids := a.networkIDs(one.id)
	for _, r := range list {
		if trialBox(r) {
			continue
		}
		if ids != nil {
			r = []byte(ids.Replace(string(r)))
		}
		rows = append(rows, present(r, one.host, known, held))
	}
	return rows, nil
}

// present completes a row of a host that answered.
func present(r []byte, on host, known *holdings, held map[string]*sched.Grant) containerRow {
	var done containerRow
	var out joined
	out.Grow(len(r) + 128)
	out.WriteByte('{')
	var labels, ports []byte
	for parts := members(r); len(parts) > 1; parts = parts[2:] {
		switch name, value := string(parts[0]), parts[1]; name {
		case `"Labels"`:
			labels = value
			continue
		case `"Id"`:
			json.Unmarshal(value, &done.id)
		case `"Created"`:
			json.Unmarshal(value, &done.created)
		case `"Ports"`:
			ports = value
		}
		out.add(parts[0], []byte{':'}, parts[1])
	}
	var x extra
	p := known.placed[done.id]
	if p == nil {
		// A replica may hear some milliseconds late that the container is there.
		p = known.placed[label(labels, engine.LabelPlacement)]
	}
	if p != nil {
		done.stamp = p.Created.UnixNano()
		x = known.placement(p)
	} else if g := held[done.id]; g != nil {
		x = known.outsider(g)
	} else {
		x.Ports = listedPorts(ports)
	}
	x.Node, done.owner = on.name, x.Owner
	out.add([]byte(`"Labels":`), labelled(labels, on.name))
	out.add([]byte(`"Ddocker":`), raw(x))
	out.WriteByte('}')
	done.data = out.Bytes()
	return done
}

// label returns one of the labels, "" where there is none of that name.
func label(labels []byte, name string) (value string) {
	for parts := members(labels); len(parts) > 1; parts = parts[2:] {
		if string(parts[0]) == `"`+name+`"` {
			json.Unmarshal(parts[1], &value)
		}
	}
	return value
}

// labelled returns the labels with the one that names the host.
func labelled(labels []byte, on string) []byte {
	const name = `"` + labelNode + `"`
	var out joined
	out.WriteByte('{')
	for parts := members(labels); len(parts) > 1; parts = parts[2:] {
		if string(parts[0]) != name {
			out.add(parts[0], []byte{':'}, parts[1])
		}
	}
	out.add([]byte(name+":"), raw(on))
	out.WriteByte('}')
	return out.Bytes()
}

// absentRows tells of a host that does not answer what the ledger knows. What
// the ledger cannot judge by a filter is left out.
func absentRows(on host, known *holdings, f filters) []containerRow {
	var rows []containerRow
	add := func(id, name, image string, created int64, x extra) {
		if !f.mayMatch(id, name) {
			return
		}
		x.Node, x.Unreachable = on.name, true
		rows = append(rows, containerRow{id: id, created: created, owner: x.Owner, data: raw(bareRow(id, name, image, created, x))})
	}
	for _, id := range slices.Sorted(maps.Keys(known.placed)) {
		p := known.placed[id]
		add(id, p.Name, p.Image, p.Created.Unix(), known.placement(p))
	}
	for i := range known.outsiders {
		o := &known.outsiders[i]
		add(o.ID, o.Name, o.Image, o.Created.Unix(), known.outsider(&o.Grant))
	}
	return rows
}

// bareRow is a container of which no engine tells.
func bareRow(id, name, image string, created int64, x extra) row {
	return row{
		"Id": raw(id), "Names": raw([]string{"/" + name}), "Image": raw(image), "ImageID": raw(""), "Command": raw(""),
		"Created": raw(created), "Ports": raw([]string{}), "Labels": raw(map[string]string{labelNode: x.Node}),
		"State": raw("unreachable"), "Status": raw("Host down"), "HostConfig": raw(map[string]string{}),
		"NetworkSettings": raw(map[string]any{"Networks": map[string]any{}}), "Mounts": raw([]string{}), "Ddocker": raw(x),
	}
}

func raw(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null") // of strings, numbers and maps of them: cannot happen
	}
	return data
}
