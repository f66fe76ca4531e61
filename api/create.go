package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/docker/docker/pkg/namesgenerator"

	"ddocker/api/options"
	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/settings"
)

// Labels by which a create asks for what Docker's own fields cannot say.
const (
	labelType  = "ddocker.type"  // name or number of an instance type
	labelPorts = "ddocker.ports" // how many ports the cluster is to choose
)

// containerName is Docker's own rule.
var containerName = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

const badName = "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"

const (
	// tries bounds how often another place is looked for.
	tries = 3
	// placeTimeout bounds the choice of a place, createTimeout a create on its
	// holder: more than a slow engine takes.
	placeTimeout  = time.Minute
	slowPlace     = 200 * time.Millisecond
	createTimeout = 11 * time.Minute
)

// create places a container and has it made there.
func (a *API) create(w http.ResponseWriter, c *call) {
	var order *order
	body, err := receive(w, c.Request, createShape())
	if err == nil {
		err = a.admitCreate(c, body)
	}
	if err == nil {
		order, err = a.order(c, body)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	for try := 1; ; try++ {
		answer, err := a.createOnce(c, order)
		again := answer != nil && answer.header.Get(headerBusy) != ""
		switch {
		case (again || errors.Is(err, errUnreached)) && try < tries:
			continue
		case isFull(err) && try < tries:
			if err = a.relocate(c.Context(), order, err); err == nil {
				continue
			}
			failWith(w, err)
			return
		case err != nil:
			failWith(w, err)
			return
		}
		answer.header.Del(headerBusy)
		for key, values := range answer.header {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.status)
		w.Write(answer.body.Bytes())
		return
	}
}

// order is a create, understood.
type order struct {
	reserve  ledger.Reserve
	body     []byte
	platform string
	named    bool // by the client
	// retry is what is remembered of it if its client is told to pull the image;
	// empty: the client waits instead.
	retry string
}

// order works out what the request asks of the cluster.
func (a *API) order(c *call, top map[string]json.RawMessage) (*order, error) {
	query := c.URL.Query()
	o := &order{platform: query.Get("platform"), named: query.Get("name") != ""}
	o.reserve.Name = query.Get("name")
	if o.named && !containerName.MatchString(o.reserve.Name) {
		return nil, invalid(badName, o.reserve.Name)
	}
	if o.named && o.reserve.Name[0] == '/' {
		o.reserve.Name = o.reserve.Name[1:]
	}
	if top == nil {
		return nil, invalid("read the request: it is no JSON object")
	}
	var s settings.Settings
	a.cfg.Log.View(func(l *ledger.Ledger) { s = l.Settings() })
	overlay, err := a.overlays.of(s.Options)
	if err != nil {
		return nil, invalid("additional_options of the cluster: %s", err)
	}
	said := struct { // before anything is laid under it
		Labels map[string]string
		runtimeWish
	}{}
	if err := json.Unmarshal(raw(top), &said); err != nil {
		return nil, invalid("read the request: %s", err)
	}
	if err := a.usable(c, top); err != nil {
		return nil, err
	}
	_, typed := said.Labels[labelType]
	_, ported := said.Labels[labelPorts]
	if typed || ported {
		if err := overlay.Apply(top); err != nil {
			return nil, invalid("%s", err)
		}
	}
	rules, err := takeRules(top)
	if err != nil {
		return nil, invalid("%s", err)
	}
	if o.body, err = json.Marshal(top); err != nil {
		return nil, invalid("%s", err)
	}
	w, err := readWish(o.body)
	if err != nil {
		return nil, invalid("%s", err)
	}
	if w.HostConfig.PublishAllPorts {
		w.expose(a.imageConfig(c.Context(), w.Image).ExposedPorts)
	}
	a.askRuntime(c.Context(), &said.runtimeWish, w)
	o.reserve.Image, o.reserve.Owner = w.Image, a.who(c).Name
	o.reserve.Replaces = a.replaced(w, o.reserve.Name, o.reserve.Owner)
	if o.reserve.Type, o.reserve.Request, err = w.request(s); err == nil {
		err = a.findCards(&o.reserve.Request)
	}
	if err != nil {
		return nil, invalid("%s", err)
	}
	if err := a.chooseImage(c, o); err != nil {
		return nil, err
	}
	if err := a.choose(c.Context(), rules, &o.reserve.Request); err != nil {
		return nil, err
	}
	return o, a.pin(c.Context(), w, overlay, o)
}

func invalid(format string, args ...any) error {
	return &ledger.Refusal{Code: ledger.Invalid, Message: fmt.Sprintf(format, args...)}
}

// createOnce reserves a place and has the container made there.
func (a *API) createOnce(c *call, o *order) (*record, error) {
	if !o.named {
		o.reserve.Name = a.randomName()
		c.seen.on(o.reserve.Name)
	}
	// The container is made even if the client goes away meanwhile: half-made it
	// would be nobody's.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), placeTimeout)
	defer cancel()
	// A place that is long in coming waits for a leader, whose machine may have died. If
	// it were the holder too, that should be known by then.
	slow := time.AfterFunc(slowPlace, func() { a.hosts.askAll(ctx) })
	defer slow.Stop()
	a.cfg.Crash.At(crash.CreateAsked)
	p, index, err := a.place(ctx, o)
	if err != nil {
		return nil, err
	}
	a.cfg.Crash.At(crash.CreateReserved)
	return a.makeOn(context.WithoutCancel(c.Context()), p, index, c.to(""), o)
}

// makeOn has the placement's holder make the container.
func (a *API) makeOn(ctx context.Context, p *ledger.Placement, index uint64, path string, o *order) (*record, error) {
	ctx, cancel := context.WithTimeout(ctx, createTimeout+a.bringTime(p))
	defer cancel()
	query := url.Values{"name": {p.Name}, queryPlacement: {p.ID}, queryIndex: {strconv.FormatUint(index, 10)}}
	if o.platform != "" {
		query.Set("platform", o.platform)
	}
	u := url.URL{Scheme: "http", Host: "ddocker", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(o.body))
	if err != nil {
		return nil, err
	}
	if !a.Reachable(p.Node) { // as was found out after it was chosen
		return nil, a.unreached(ctx, p, errors.New("it did not answer just now"))
	}
	if err := a.hosts.there(ctx, p.Node); err != nil {
		return nil, a.unreached(ctx, p, err)
	}
	if a.silent(ctx, p.Node) {
		return nil, a.unreached(ctx, p, errors.New("its Docker Engine does not answer"))
	}
	resp, err := a.hosts.transport(p.Node).RoundTrip(req)
	if err != nil {
		return nil, a.lost(ctx, p, err)
	}
	defer resp.Body.Close()
	a.hosts.hear(p.Node)
	answer := &record{header: http.Header{"Content-Type": resp.Header["Content-Type"]}, status: resp.StatusCode}
	if again := resp.Header.Get(headerBusy); again != "" {
		answer.header.Set(headerBusy, again)
	}
	if _, err := io.Copy(&answer.body, io.LimitReader(resp.Body, maxBody)); err != nil {
		return nil, fmt.Errorf("create %s on host %s: its answer broke off, see \"ddocker ps -a\": %w", p.Name, a.hosts.name(p.Node), err)
	}
	a.cfg.Crash.At(crash.CreateTold)
	return answer, nil
}

// errUnreached says that nothing was asked of the holder, so that another may be.
var errUnreached = errors.New("cannot be reached")

// overlays keeps additional_options as they were last understood.
type overlays struct {
	mu      sync.Mutex // guards what follows
	lines   []string
	overlay *options.Overlay
}

func (o *overlays) of(lines []string) (*options.Overlay, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.overlay != nil && slices.Equal(o.lines, lines) {
		return o.overlay, nil
	}
	overlay, err := options.Parse(lines)
	if err == nil {
		o.lines, o.overlay = slices.Clone(lines), overlay
	}
	return overlay, err
}

// unreached gives up a placement whose holder was asked for nothing. While it is held no
// other can be looked for: the name is taken by it.
func (a *API) unreached(ctx context.Context, p *ledger.Placement, err error) error {
	a.cfg.Crash.At(crash.CreateUnreached)
	a.hosts.unreached(p.Node)
	if kept := a.cfg.Node.Abandon(ctx, p.ID); kept != nil {
		return fmt.Errorf("create %s: host %s cannot be reached (%w), and what is reserved there is not released yet (%v): try again in a moment",
			p.Name, a.hosts.name(p.Node), err, kept)
	}
	a.cfg.Crash.At(crash.CreateUnreserved)
	return fmt.Errorf("create %s: host %s %w: %w", p.Name, a.hosts.name(p.Node), errUnreached, err)
}

// lost gives the placement up if the holder was certainly not reached. Else the
// holder may have begun, and settles it.
func (a *API) lost(ctx context.Context, p *ledger.Placement, err error) error {
	if notDialled(err) {
		return a.unreached(ctx, p, err)
	}
	return fmt.Errorf("create %s: host %s broke off, see \"ddocker ps -a\" for whether it was made: %w", p.Name, a.hosts.name(p.Node), err)
}

// notDialled says whether the error means that nothing was sent.
func notDialled(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// randomName makes up a name that is free, as docker does.
func (a *API) randomName() string {
	for retry := 0; ; retry++ {
		name := namesgenerator.GetRandomName(retry)
		taken := false
		a.cfg.Log.View(func(l *ledger.Ledger) { taken = l.NameTaken(name) != nil })
		if !taken {
			return name
		}
		if retry > 8 {
			return name + strconv.Itoa(rand.IntN(1e9))
		}
	}
}
