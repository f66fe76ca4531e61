package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// maxSpec bounds what every node keeps of a network or a volume, in bytes.
const maxSpec = 64 << 10

// predefined are the networks that every engine has.
var predefined = []string{"bridge", "host", "none"}

// found is a network or a volume, where it was found.
type found struct {
	node string
	id   string         // the engine's own
	obj  *ledger.Object // nil: one that a person made on the host
}

// pathOf is Docker's path of an object.
func pathOf(kind ledger.Kind, ref string) string {
	if kind == ledger.Network {
		return "/networks/" + ref
	}
	return "/volumes/" + ref
}

// findObject finds the network or volume that a client means: of the cluster, or one
// that only hosts know of. Those that every engine has are this node's.
func (a *API) findObject(ctx context.Context, kind ledger.Kind, ref string) (found, error) {
	if kind == ledger.Network && slices.Contains(predefined, ref) {
		return found{node: a.cfg.Self, id: ref}, nil
	}
	f, err := a.lookUp(kind, ref)
	if err == nil && f.obj == nil && a.cfg.Log.Read(ctx) == nil {
		f, err = a.lookUp(kind, ref) // it may just have been made through another node
	}
	if err != nil || f.obj != nil {
		return f, err
	}
	return a.askObject(ctx, kind, ref)
}

// lookUp finds an object in the ledger; its obj is nil where there is none.
func (a *API) lookUp(kind ledger.Kind, ref string) (f found, err error) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		o, refusal := l.FindObject(kind, ref)
		if refusal != nil {
			err = refusal
			return
		}
		if f.obj = o; o == nil {
			return
		}
		f.node, f.id = o.Home, o.ID
		if i, ok := o.Instance(o.Home); ok {
			f.id = i.ID
		}
		if f.id == "" {
			err = &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("%s %s is being made on host %s: try again in a moment", kind, o.Name, l.Node(o.Home).Name)}
		}
	})
	return f, err
}

// askObject looks for an object that the ledger does not know on all hosts.
func (a *API) askObject(ctx context.Context, kind ledger.Kind, ref string) (found, error) {
	unknown := &ledger.Refusal{Code: ledger.Unknown, Message: noSuch(kind, ref)}
	if !reference.MatchString(ref) {
		return found{}, unknown
	}
	var list []found
	var where []string
	for _, one := range a.hosts.each(ctx, pathOf(kind, ref), nil) {
		var is struct{ ID, Name string }
		if one.err != nil || json.Unmarshal(one.body, &is) != nil || a.hidden(kind, is.Name, one.id) {
			continue
		}
		if kind == ledger.Volume {
			is.ID = is.Name
		}
		f := found{node: one.id, id: is.ID}
		if one.id == a.cfg.Self {
			return f, nil
		}
		list, where = append(list, f), append(where, one.name)
	}
	switch len(list) {
	case 0:
		return found{}, unknown
	case 1:
		return list[0], nil
	}
	return found{}, invalid("%s %s is on the hosts %s: ask one of them", kind, ref, strings.Join(where, ", "))
}

func noSuch(kind ledger.Kind, ref string) string {
	if kind == ledger.Network {
		return "network " + ref + " not found"
	}
	return "get " + ref + ": no such volume"
}

// hidden says whether what a host has by that name stands behind an object of the
// cluster whose home is elsewhere.
func (a *API) hidden(kind ledger.Kind, name, node string) (hidden bool) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		o := l.Object(kind, name)
		hidden = o != nil && o.Home != node
	})
	return hidden
}

// reached says why a node with an object cannot be asked, or nil.
func (a *API) reached(ctx context.Context, kind ledger.Kind, ref, node string) error {
	if err := a.awake(ctx, node); err != nil {
		return &statusError{http.StatusServiceUnavailable, fmt.Sprintf("%s %s: %s", kind, ref, err)}
	}
	return nil
}

// request sends a request to a node's engine and returns the whole answer.
func (a *API) request(ctx context.Context, method, node, path string, query url.Values, body []byte) (*record, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: "ddocker", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.hosts.transport(node).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", a.hosts.name(node), err)
	}
	defer resp.Body.Close()
	a.hosts.hear(node)
	answer := &record{header: resp.Header, status: resp.StatusCode}
	if _, err := io.Copy(&answer.body, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return nil, fmt.Errorf("the answer of host %s broke off: %w", a.hosts.name(node), err)
	}
	return answer, nil
}

// versionedPath is the path in the client's API version.
func (c *call) versionedPath(path string) string {
	if c.version == "" {
		return path
	}
	return "/v" + c.version + path
}

// createObject has a network or a volume made: its name is taken in the ledger, then
// the engine of the emptiest host makes it. The first container to use it may still
// take it elsewhere.
func (a *API) createObject(c *call, kind ledger.Kind, name string, body []byte) (*record, error) {
	if len(body) > maxSpec {
		return nil, invalid("the %s %s is described by %d bytes, and %d are the most", kind, name, len(body), maxSpec)
	}
	home := cmp.Or(a.projectHome(body), a.emptiest())
	define := &ledger.Define{Kind: kind, Name: name, Owner: a.who(c).Name, Home: home, Spec: body}
	// It is made to its end even if the client goes away meanwhile.
	ctx := context.WithoutCancel(c.Context())
	if _, err := a.decide(ctx, ledger.Command{ID: newID(), Define: define}); err != nil {
		return nil, err
	}
	answer, err := a.request(ctx, post, home, c.versionedPath(pathOf(kind, "create")), nil, body)
	if err != nil && !notDialled(err) {
		return nil, fmt.Errorf("make %s %s: %w", kind, name, err) // its host finds out whether it was made
	}
	if err != nil || answer.status >= http.StatusMultipleChoices {
		if _, fault := a.decide(ctx, ledger.Command{Undefine: &ledger.Undefine{Kind: kind, Name: name}}); fault != nil {
			a.log.Debug("a name is not yet given back", "kind", kind, "name", name, "err", fault)
		}
		return answer, err
	}
	made := ledger.Made{Kind: kind, Name: name, Node: home, ID: name}
	if kind == ledger.Network {
		var is struct{ ID string }
		if err := json.Unmarshal(answer.body.Bytes(), &is); err != nil {
			return nil, err
		}
		made.ID = is.ID
	}
	_, err = a.decide(ctx, ledger.Command{Made: &made})
	return answer, err
}

// labelProject is compose's.
const labelProject = "com.docker.compose.project"

func projectOf(body []byte) string {
	var about struct{ Labels map[string]string }
	json.Unmarshal(body, &about) // what has no labels is of no project
	return about.Labels[labelProject]
}

// projectHome returns the host of the compose project that a network or a volume is
// of; empty: it has none yet.
func (a *API) projectHome(body []byte) (node string) {
	project := projectOf(body)
	if project == "" {
		return ""
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if o := l.Object(ledger.Project, project); o != nil && a.hosts.answers(o.Home) {
			node = o.Home
			return
		}
		for _, o := range slices.Concat(l.Objects(ledger.Volume), l.Objects(ledger.Network)) {
			if node == "" && projectOf(o.Spec) == project && a.hosts.answers(o.Home) {
				node = o.Home
			}
		}
	})
	return node
}

// emptiest returns the live node with the most room.
func (a *API) emptiest() (node string) {
	node = a.cfg.Self
	a.cfg.Log.View(func(l *ledger.Ledger) {
		live := slices.DeleteFunc(slices.Clone(l.Hosts()), func(h *sched.Host) bool { return !a.hosts.answers(h.ID) })
		if best, _ := sched.Pick(live, nil, &sched.Request{}, 1); len(best) > 0 {
			node = best[0].ID
		}
	})
	return node
}

// removeObject removes a network or a volume from its host, and then from the cluster.
func (a *API) removeObject(w http.ResponseWriter, c *call, kind ledger.Kind) {
	f, err := a.findObject(c.Context(), kind, c.ref)
	if err == nil {
		err = a.reached(c.Context(), kind, c.ref, f.node)
	}
	if err == nil {
		err = a.usedApart(f)
	}
	if isUnknown(err) && yes(c.URL.Query().Get("force")) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err != nil {
		failWith(w, err)
		return
	}
	answer, err := a.dropObject(context.WithoutCancel(c.Context()), c, kind, f, c.URL.Query())
	if err != nil {
		failWith(w, err)
		return
	}
	answer.writeTo(w)
}

// dropObject has an object's host remove it, unless it is used there, and returns what
// the engine says to that.
func (a *API) dropObject(ctx context.Context, c *call, kind ledger.Kind, f found, query url.Values) (*record, error) {
	answer, err := a.request(ctx, del, f.node, c.versionedPath(pathOf(kind, f.id)), query, nil)
	if err == nil && f.obj != nil && (answer.status/100 == 2 || answer.status == http.StatusNotFound) {
		err = a.undefine(ctx, f)
		if answer.status == http.StatusNotFound {
			answer.status = http.StatusNoContent
			answer.body.Reset()
		}
	}
	return answer, err
}

// undefine ends an object that its home's engine has no more, unless its host did it
// already.
func (a *API) undefine(ctx context.Context, f found) error {
	gone := ledger.Undefine{Kind: f.obj.Kind, Name: f.obj.Name, ID: f.obj.ID, Done: []string{f.node}}
	if _, err := a.decide(ctx, ledger.Command{Undefine: &gone}); err != nil && !isUnknown(err) {
		return err
	}
	return nil
}

// usedApart refuses what containers on other hosts than its home use.
func (a *API) usedApart(f found) (err error) {
	if f.obj == nil {
		return nil
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, p := range l.UsersOf(f.obj) {
			if p.Node != f.obj.Home {
				err = &statusError{http.StatusForbidden, fmt.Sprintf("error while removing %s: %s %s is used by container %s on host %s", f.obj.Kind, f.obj.Kind, f.obj.Name, p.Name, l.Node(p.Node).Name)}
				return
			}
		}
	})
	return err
}

// writeTo answers with what was recorded.
func (w *record) writeTo(to http.ResponseWriter) {
	if t := w.header["Content-Type"]; t != nil {
		to.Header()["Content-Type"] = t
	}
	to.WriteHeader(w.status)
	to.Write(w.body.Bytes())
}

// forgetPruned ends an object that its home's engine removed as unused.
func (a *API) forgetPruned(ctx context.Context, kind ledger.Kind, name, node string) {
	f, err := a.lookUp(kind, name)
	if err != nil || f.obj == nil || f.node != node {
		return // an instance beside: its node finds out
	}
	if err := a.undefine(ctx, f); err != nil {
		a.log.Debug("what was pruned is forgotten later", "kind", kind, "name", name, "err", err)
	}
}

// text reads a string field; one that is absent is empty.
func text(body map[string]json.RawMessage, key string) (s string, err error) {
	if body[key] == nil {
		return "", nil
	}
	if err := json.Unmarshal(body[key], &s); err != nil {
		return "", invalid("read the request: %s is no text", key)
	}
	return s, nil
}

// indexQuery names a place in the log to another node.
func indexQuery(index uint64) url.Values {
	return url.Values{queryIndex: {strconv.FormatUint(index, 10)}}
}
