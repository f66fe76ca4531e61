package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// send passes the request to a node's engine, with ref in the place of {}.
func (a *API) send(w http.ResponseWriter, c *call, node, ref string) {
	out := c.Request.Clone(c.Context())
	out.URL.Path, out.URL.RawPath = c.to(ref), ""
	out.URL.RawQuery = out.URL.Query().Encode() // what cannot be read here is no engine's to guess
	noForm(out.Header)
	if bulky(out.URL.Path) {
		w = unflushed{w}
	}
	if node == a.cfg.Self {
		a.local.ServeHTTP(w, out)
		return
	}
	forward(a.cfg.Peer(node), "host "+a.hosts.name(node), a.log, a.local.buffers).ServeHTTP(w, out)
}

// noForm has engines take the body for no form: to them, a form says more than
// the query, by which was decided what they are asked.
func noForm(h http.Header) {
	if kind, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data" {
		h.Del("Content-Type")
	}
}

// here passes the request to this node's engine.
func (a *API) here(w http.ResponseWriter, c *call) { a.send(w, c, a.cfg.Self, c.ref) }

// resolve finds a container. Only the newest state may say that there is none,
// or that it is not made yet.
func (a *API) resolve(ctx context.Context, ref string) (t ledger.Target, refusal *ledger.Refusal) {
	look := func(l *ledger.Ledger) { t, refusal = l.Resolve(ref) }
	a.cfg.Log.View(look)
	if refusal == nil && t.Container != "" || refusal != nil && refusal.Code != ledger.Unknown {
		return t, refusal
	}
	if a.cfg.Log.Read(ctx) == nil {
		a.cfg.Log.View(look)
	}
	if refusal == nil {
		return t, nil
	}
	return a.ask(ctx, ref, refusal)
}

// ask looks for a container that the ledger does not know yet, or cannot know
// without a quorum, on all hosts.
func (a *API) ask(ctx context.Context, ref string, refusal *ledger.Refusal) (ledger.Target, *ledger.Refusal) {
	if !reference.MatchString(ref) {
		return ledger.Target{}, refusal
	}
	for _, one := range a.hosts.each(ctx, "/containers/"+ref+"/json", nil) {
		var found struct {
			ID, Name string
			Config   struct{ Labels map[string]string }
		}
		if one.err == nil && json.Unmarshal(one.body, &found) == nil && found.ID != "" {
			t := ledger.Target{Node: one.id, Container: found.ID, Name: strings.TrimPrefix(found.Name, "/")}
			a.cfg.Log.View(func(l *ledger.Ledger) {
				if p := l.Placement(found.Config.Labels[engine.LabelPlacement]); p != nil && p.Node == one.id && p.Container == "" {
					t.Placement = p
				}
			})
			return t, nil
		}
	}
	return ledger.Target{}, refusal
}

const pathKill = "/containers/{}/kill"

// located finds the container that c is about, or answers why not.
func (a *API) located(w http.ResponseWriter, c *call, ref string) (ledger.Target, bool) {
	var t ledger.Target
	var refusal *ledger.Refusal
	if at := slices.IndexFunc(c.targets, func(t target) bool { return t.ref == ref }); at >= 0 {
		t = c.targets[at].is
	} else {
		t, refusal = a.resolve(c.Context(), ref)
	}
	c.seen.on(t.Name)
	switch {
	case refusal != nil:
		failWith(w, cannotKill(c, ref, a.explain(refusal, ref)))
		return t, false
	case t.Node != a.cfg.Self && !a.cfg.Alive(t.Node):
		a.unreachable(w, t.Name, t.Node)
		return t, false
	case a.silent(c.Context(), t.Node):
		if a.hosts.there(c.Context(), t.Node) != nil {
			a.unreachable(w, t.Name, t.Node)
			return t, false
		}
		fail(w, http.StatusServiceUnavailable, "container %s is on host %s, whose Docker Engine does not answer: see \"ddocker nodes\"", t.Name, a.hosts.name(t.Node))
		return t, false
	case t.Container == "":
		fail(w, http.StatusConflict, "container %s is still being created on host %s: try again in a moment", t.Name, a.hosts.name(t.Node))
		return t, false
	}
	return t, true
}

// silent says whether a node that gave reason to doubt it does not answer now.
func (a *API) silent(ctx context.Context, node string) bool {
	if a.hosts.answers(node) && !a.closed(node) {
		return false
	}
	_, err := a.hosts.get(ctx, node, "/_ping", nil)
	return err != nil
}

// closed says whether the ledger has it that the node can take nothing now.
func (a *API) closed(node string) (closed bool) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		n := l.Node(node)
		closed = n != nil && n.Observed.Closed != ""
	})
	return closed
}

// awake says why a node cannot do what needs its engine, as far as that is known.
func (a *API) awake(ctx context.Context, node string) error {
	switch {
	case a.gone(node):
		return fmt.Errorf("host %s does not answer: see \"ddocker nodes\"", a.hosts.name(node))
	case a.silent(ctx, node) && ctx.Err() == nil:
		return a.noEngine(node)
	}
	return nil
}

func (a *API) noEngine(node string) error {
	return fmt.Errorf("the Docker Engine of host %s does not answer: see \"ddocker nodes\"", a.hosts.name(node))
}

// holder passes the request to the engine that has the container.
func (a *API) holder(w http.ResponseWriter, c *call) {
	if t, ok := a.located(w, c, c.ref); ok {
		a.send(w, c, t.Node, t.Container)
	}
}

// start starts or restarts a container, but not beside the one whose place it takes over.
func (a *API) start(w http.ResponseWriter, c *call) {
	if err := a.admitStart(w, c); err != nil {
		failWith(w, err)
		return
	}
	t, ok := a.located(w, c, c.ref)
	if !ok {
		return
	}
	if old := a.replacedBy(c.Context(), t); old != nil {
		fail(w, http.StatusConflict, "container %s is to take over what container %s holds on host %s: remove that first", t.Name, old.Name, a.hosts.name(t.Node))
		return
	}
	a.send(w, c.withBody(nil), t.Node, t.Container)
}

// replacedBy returns what the container is to replace. Only the newest state may say
// that it is still there.
func (a *API) replacedBy(ctx context.Context, t ledger.Target) (old *ledger.Placement) {
	if t.Placement == nil {
		return nil
	}
	look := func(l *ledger.Ledger) { old = l.Placement(t.Placement.Replaces) }
	if a.cfg.Log.View(look); old != nil && a.cfg.Log.Read(ctx) == nil {
		a.cfg.Log.View(look)
	}
	return old
}

// rename gives the container its new name in the ledger first, where names are
// unique, and takes it back if the engine refuses.
func (a *API) rename(w http.ResponseWriter, c *call) {
	t, ok := a.located(w, c, c.ref)
	if !ok {
		return
	}
	name := c.URL.Query().Get("name")
	if !containerName.MatchString(name) {
		fail(w, http.StatusBadRequest, badName, name)
		return
	}
	name = strings.TrimPrefix(name, "/")
	if t.Placement == nil { // as far as this replica knows
		if err := a.cfg.Log.Read(c.Context()); err != nil {
			failWith(w, err)
			return
		}
		if now, refusal := a.resolve(c.Context(), t.Container); refusal == nil && now.Node == t.Node {
			t = now
		}
	}
	if t.Placement == nil {
		a.renameOutsider(w, c, t, name)
		return
	}
	if _, err := a.decide(c.Context(), ledger.Command{Rename: &ledger.Rename{Placement: t.Placement.ID, Name: name}}); err != nil {
		var taken *ledger.Refusal
		if errors.As(err, &taken) && taken.Code == ledger.Conflict {
			err = &ledger.Refusal{Code: taken.Code, Message: "Error when allocating new name: " + taken.Message}
		}
		failWith(w, err)
		return
	}
	// Whether the engine did it must be known even if the client goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), renameTimeout)
	defer cancel()
	c.Request = c.WithContext(ctx)
	watched := &record{header: w.Header()}
	a.send(watched, c, t.Node, t.Container)
	if watched.status >= http.StatusMultipleChoices {
		back := ledger.Command{Rename: &ledger.Rename{Placement: t.Placement.ID, Name: t.Name}}
		if _, _, err := a.cfg.Log.Propose(context.WithoutCancel(ctx), back); err != nil {
			a.log.Warn("name is not yet taken back", "container", t.Name, "err", err)
		}
	}
	w.WriteHeader(watched.status)
	w.Write(watched.body.Bytes())
}

// renameTimeout bounds a rename on its holder.
const renameTimeout = 30 * time.Second

// renameOutsider renames a container of which the ledger knows only what its host
// sees: its new name must be free in the cluster all the same.
func (a *API) renameOutsider(w http.ResponseWriter, c *call, t ledger.Target, name string) {
	var taken *ledger.Refusal
	a.cfg.Log.View(func(l *ledger.Ledger) { taken = l.NameTaken(name) })
	if taken != nil && name != t.Name {
		failWith(w, taken)
		return
	}
	a.send(w, c, t.Node, t.Container)
}

// proposed carries out a command of the ledger, or answers why not.
func (a *API) proposed(w http.ResponseWriter, c *call, command ledger.Command) bool {
	result, index, err := a.cfg.Log.Propose(c.Context(), command)
	if err == nil && result.Refusal == nil {
		err = a.cfg.Log.Wait(c.Context(), index)
	}
	switch {
	case err != nil:
		failWith(w, err)
	case result.Refusal != nil:
		failWith(w, result.Refusal)
	default:
		return true
	}
	return false
}

// maxExecs bounds how many exec sessions are remembered.
const maxExecs = 4096

// session is where an exec session is.
type session struct{ node, container string }

// execs remembers which node has an exec session: its ID says nothing of that.
type execs struct {
	mu     sync.Mutex // guards what follows
	at     map[string]session
	order  []string
	untold map[string]string // why the stream of a session broke off
}

func (e *execs) put(id string, at session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = map[string]session{}
	}
	e.at[id] = at
	if e.order = append(e.order, id); len(e.order) > maxExecs {
		delete(e.at, e.order[0])
		delete(e.untold, e.order[0])
		e.order = e.order[1:]
	}
}

func (e *execs) get(id string) session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at[id]
}

// breakOff keeps what the client of a session was not told: docker then asks for
// the exit code, and of a program that may still run there is none.
func (e *execs) breakOff(id, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.untold == nil {
		e.untold = map[string]string{}
	}
	e.untold[id] = why
}

// why returns once what the client of the session was not told.
func (e *execs) why(id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	why := e.untold[id]
	delete(e.untold, id)
	return why
}

// createExec passes the request to the holder and remembers it for the session.
func (a *API) createExec(w http.ResponseWriter, c *call) {
	t, ok := a.located(w, c, c.ref)
	if !ok {
		return
	}
	fields, err := receive(w, c.Request, execShape())
	if err == nil {
		err = a.admits(c, execRules(), fields)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	answer := &record{header: w.Header()}
	a.send(answer, c.withBody(fields), t.Node, t.Container)
	var made struct{ ID string }
	if json.Unmarshal(answer.body.Bytes(), &made); made.ID != "" {
		a.execs.put(made.ID, session{t.Node, t.Container})
	}
	w.WriteHeader(answer.status)
	w.Write(answer.body.Bytes())
}

// startExec is exec, of a session that begins. What the client sends when its
// connection was taken over is no part of the body.
func (a *API) startExec(w http.ResponseWriter, c *call) {
	fields, err := receive(w, c.Request, startExecShape())
	if err != nil {
		failWith(w, err)
		return
	}
	a.exec(w, c.withBody(fields))
}

// findExec finds an exec session. One that another node made is asked for everywhere.
func (a *API) findExec(ctx context.Context, id string) (session, error) {
	at := a.execs.get(id)
	if at.node != "" {
		return at, nil
	}
	for _, one := range a.hosts.each(ctx, "/exec/"+id+"/json", nil) {
		var is struct{ ContainerID string }
		if one.err == nil && json.Unmarshal(one.body, &is) == nil && is.ContainerID != "" {
			at = session{one.id, is.ContainerID}
			a.execs.put(id, at)
		}
	}
	if at.node == "" {
		return at, noExec(id)
	}
	return at, nil
}

func noExec(id string) error {
	return &ledger.Refusal{Code: ledger.Unknown, Message: "No such exec instance: " + id}
}

// exec passes the request to the engine that has the session.
func (a *API) exec(w http.ResponseWriter, c *call) {
	at, err := a.findExec(c.Context(), c.ref)
	if err != nil {
		failWith(w, err)
		return
	}
	switch c.row.path {
	case pathExecStart:
		a.sendStream(w, c, at.node, c.ref)
		return
	case pathExec:
		if why := a.execs.why(c.ref); why != "" {
			fail(w, http.StatusServiceUnavailable, "%s", why)
			return
		}
	}
	a.send(w, c, at.node, c.ref)
}

const (
	pathExecStart = "/exec/{}/start"
	pathExec      = "/exec/{}/json"
)
