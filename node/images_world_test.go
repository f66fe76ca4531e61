package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/image"
)

// imageEngine is an engine as package image knows it.
type imageEngine struct{ *engine.Engine }

func (e imageEngine) Layers(ctx context.Context, ref string) (id string, diffIDs []string, size int64, err error) {
	id, diffIDs, size, err = e.ImageLayers(ctx, ref)
	return id, diffIDs, size, unknownImage(err)
}

func (e imageEngine) Load(ctx context.Context, archive io.Reader) error {
	return e.LoadImage(ctx, archive)
}

func (e imageEngine) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	archive, err := e.SaveImage(ctx, ref)
	return archive, unknownImage(err)
}

func (e imageEngine) List(ctx context.Context) (map[string][]string, error) {
	list, err := e.Images(ctx)
	names := map[string][]string{}
	for _, i := range list {
		names[i.ID] = i.Refs
	}
	return names, err
}

func (e imageEngine) remove(ctx context.Context, id string) error {
	_, err := e.RemoveImage(ctx, id, false)
	return unknownImage(err)
}

func unknownImage(err error) error {
	if err != nil && engine.IsNotFound(err) {
		return fmt.Errorf("%w: %w", image.ErrUnknown, err)
	}
	return err
}

// disk is the room that a host says it has.
type disk struct {
	mu          sync.Mutex // guards what follows
	free, total int64
}

func (d *disk) room() (free, total int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, d.total, nil
}

func (d *disk) set(free, total int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free, d.total = free, total
}

// buildImages makes what a life of the host's agent moves images with.
func (h *host) buildImages() *image.Library {
	own := imageEngine{h.docker}
	if h.disk.total == 0 {
		h.disk.set(1<<40, 2<<40)
	}
	library := image.NewLibrary(image.LibraryConfig{Engine: own, Root: func(ctx context.Context) (image.Root, error) {
		if h.blind {
			h.looks.Add(1)
			time.Sleep(h.slow)
			return image.Root{}, errUnplugged
		}
		r, err := h.docker.Root(ctx)
		return image.Root{Driver: r.Driver, Containerd: r.Containerd}, err
	}})
	h.mover = image.New(image.Config{
		Self: h.id, Engine: own, Backend: library, Dir: h.dir, Disk: h.disk.room, Remove: own.remove,
		Peer:   func(id string) http.RoundTripper { return wire{h.w, h.id, id} },
		From:   func(r *http.Request) string { return r.Header.Get("From") },
		Logger: slog.New(slog.DiscardHandler),
	})
	return library
}

var errUnplugged = errors.New("no route to host")

// wire carries requests of one host's mover to another's.
type wire struct {
	w        *world
	from, to string
}

func (c wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !(peers{c.w}).Alive(c.to) {
		return nil, errUnplugged
	}
	ctx, cancel := context.WithCancel(r.Context())
	r = r.Clone(ctx)
	r.Header.Set("From", c.from)
	body, into := io.Pipe()
	a := &answer{header: http.Header{}, into: into, begun: make(chan int, 1)}
	go func() {
		peers{c.w}.host(c.to).mover.Handler().ServeHTTP(a, r)
		a.WriteHeader(http.StatusOK)
		into.Close()
	}()
	select {
	case status := <-a.begun:
		length, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64)
		if err != nil {
			length = -1
		}
		return &http.Response{
			Status: http.StatusText(status), StatusCode: status, Header: a.header, ContentLength: length,
			Body: hungUp{body, cancel}, Request: r,
		}, nil
	case <-ctx.Done():
		cancel()
		body.Close()
		return nil, ctx.Err()
	}
}

// answer is a ResponseWriter whose body is read while it is written.
type answer struct {
	header http.Header
	into   *io.PipeWriter
	once   sync.Once
	begun  chan int
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) Flush()              { a.WriteHeader(http.StatusOK) }

func (a *answer) WriteHeader(status int) {
	if status >= http.StatusOK {
		a.once.Do(func() { a.begun <- status })
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.into.Write(p)
}

// hungUp is a body whose end is the end of its request.
type hungUp struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (h hungUp) Close() error {
	h.cancel()
	return h.ReadCloser.Close()
}

// named returns the ID that a name has in the cluster, "" for none.
func (w *world) named(name string) (id string) {
	w.log.Replica().View(func(l *ledger.Ledger) {
		if i := l.Image(name); i != nil {
			id = cmp.Or(i.ID, i.Claim)
		}
	})
	return id
}

// holders returns the hosts that the cluster knows to have the image.
func (w *world) holders(id string) []string {
	names := []string{}
	w.log.Replica().View(func(l *ledger.Ledger) {
		for _, node := range l.ImageHolders(id) {
			names = append(names, l.Node(node).Name)
		}
	})
	slices.Sort(names)
	return names
}

// pending returns the names that are yet to be taken away on the host.
func (h *host) pending() []string {
	names := []string{}
	h.w.log.Replica().View(func(l *ledger.Ledger) {
		for _, r := range l.Removals(h.id) {
			names = append(names, r.Name)
		}
	})
	return names
}

// tags returns what the engine's own names stand for.
func (h *host) tags() map[string]string {
	h.w.Helper()
	list, err := h.docker.Images(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	tags := map[string]string{}
	for _, i := range list {
		for _, ref := range i.Refs {
			tags[ref] = i.ID
		}
		if len(i.Refs) == 0 {
			tags["<none> "+i.ID] = i.ID
		}
	}
	return tags
}

func (h *host) wantTag(name, id string) {
	h.w.Helper()
	if got := h.tags()[name]; got != id {
		h.w.Errorf("%s: %s is %q, want %q", h.cfg.Name, name, got, id)
	}
}

// propose has the ledger decide and fails the test if it refuses.
func (w *world) propose(c ledger.Command) (index uint64) {
	w.Helper()
	result, index, err := w.log.Replica().Propose(w.Context(), c)
	if err != nil || result.Refusal != nil {
		w.Fatal(result.Refusal, err)
	}
	return index
}

// claim reserves a name for an image to be made on the host.
func (h *host) claim(claim, name string) (index uint64) {
	h.w.Helper()
	return h.w.propose(ledger.Command{Claim: &ledger.Claim{Claim: claim, Name: name, Node: h.id, Owner: "alice"}})
}

// unname takes a name away, as rmi does.
func (w *world) unname(name string, force bool) (index uint64) {
	w.Helper()
	return w.propose(ledger.Command{Unname: &ledger.Unname{Name: name, ID: w.named(name), Force: force}})
}

// twinStart starts a container as docker start does.
func (h *host) twinStart(id string) error {
	r, err := http.NewRequestWithContext(h.w.Context(), http.MethodPost, "http://docker/v1.41/containers/"+id+"/start", nil)
	if err != nil {
		return err
	}
	resp, err := h.docker.RoundTripper().RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return errors.New(resp.Status)
	}
	return nil
}
