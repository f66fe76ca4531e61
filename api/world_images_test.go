package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/client"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/image"
	"ddocker/node"
)

// images makes what carries images from and to the host's engine.
func (w *world) images(h *agent) (*image.Mover, *image.Library) {
	own := imageEngine{h.docker}
	quiet := slog.New(slog.DiscardHandler)
	library := image.NewLibrary(image.LibraryConfig{Engine: own, Logger: quiet, Root: func(ctx context.Context) (image.Root, error) {
		return image.Root{Driver: "twin"}, nil
	}})
	return image.New(image.Config{
		Self: h.id, Engine: own, Backend: library, Dir: w.TempDir(), Logger: quiet,
		Peer: func(id string) http.RoundTripper { return signed{w.peer(id), h.id} },
		From: func(r *http.Request) string { return r.Header.Get("From-Node") },
		Remove: func(ctx context.Context, id string) error {
			_, err := h.docker.RemoveImage(ctx, id, false)
			return unknown(err)
		},
	}), library
}

// signed says who sends a request.
type signed struct {
	to   http.RoundTripper
	self string
}

func (s signed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("From-Node", s.self)
	return s.to.RoundTrip(r)
}

// nodeImages is a node as the API knows it.
type nodeImages struct{ *node.Node }

func (n nodeImages) Commit(ctx context.Context, c Commit) (int, []byte, error) {
	return n.Node.Commit(ctx, node.Commit(c))
}

// imageEngine is an engine as package image knows it.
type imageEngine struct{ *engine.Engine }

func (e imageEngine) Layers(ctx context.Context, ref string) (string, []string, int64, error) {
	id, diffIDs, size, err := e.ImageLayers(ctx, ref)
	return id, diffIDs, size, unknown(err)
}

func (e imageEngine) Load(ctx context.Context, archive io.Reader) error {
	return e.LoadImage(ctx, archive)
}

func (e imageEngine) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	archive, err := e.SaveImage(ctx, ref)
	return archive, unknown(err)
}

func (e imageEngine) List(ctx context.Context) (map[string][]string, error) {
	list, err := e.Images(ctx)
	names := map[string][]string{}
	for _, i := range list {
		names[i.ID] = i.Refs
	}
	return names, err
}

func unknown(err error) error {
	if err != nil && engine.IsNotFound(err) {
		return fmt.Errorf("%w: %w", image.ErrUnknown, err)
	}
	return err
}

// cli is Docker's own client, as the command line of that User-Agent has it.
func (h *agent) cli(agent string) *client.Client {
	h.w.Helper()
	c, err := client.NewClientWithOpts(client.WithHost("tcp://ddocker:1"), client.WithHTTPClient(&http.Client{Transport: h.client}),
		client.WithVersion("1.41"), client.WithUserAgent(agent))
	if err != nil {
		h.w.Fatal(err)
	}
	return c
}

const (
	dockerCLI = "Docker-Client/28.2.2 (linux)"
	dockerPy  = "docker-sdk-python/7.1.0"
)

// named returns what the newest ledger has under a name, or nil.
func (w *world) named(name string) (i *ledger.Image) {
	w.log.Replica().View(func(l *ledger.Ledger) { i = l.Image(name) })
	return i
}

// tags returns the engine's own names of its images, sorted.
func (h *agent) tags() []string {
	h.w.Helper()
	list, err := h.docker.Images(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	tags := []string{}
	for _, i := range list {
		tags = append(tags, i.Refs...)
	}
	slices.Sort(tags)
	return tags
}

// imageID returns the engine's ID of an image, or "".
func (h *agent) imageID(ref string) string {
	id, _, _, err := h.docker.ImageLayers(h.w.Context(), ref)
	if err != nil {
		return ""
	}
	return id
}

// drain reads a stream of Docker's messages to its end, and returns its text
// without line ends.
func (w *world) drain(r io.ReadCloser, err error) string {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, context.Canceled) {
		w.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// with returns the names of the hosts whose engines have the image.
func (w *world) with(ref string) []string {
	names := []string{}
	for _, h := range w.hosts {
		if h.imageID(ref) != "" {
			names = append(names, strings.TrimPrefix(h.id, "id-"))
		}
	}
	return names
}

// slowImages brings nothing until it is told how that ends. A caller that gives
// up tells it itself.
type slowImages struct {
	Images
	ended chan error
}

func (s slowImages) Bring(ctx context.Context, _, _ string, _ func(image.Progress)) error {
	select {
	case err := <-s.ended:
		return err
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return ctx.Err()
	}
}
