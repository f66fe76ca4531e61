package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/versions"

	"ddocker/audit"
	"ddocker/crash"
	"ddocker/gpu"
)

// What nodes tell each other beside Docker's own requests.
const (
	queryPlacement = "ddocker.placement"
	queryIndex     = "ddocker.index"
	// headerBusy marks a refusal after which another place may be found.
	headerBusy = "Ddocker-Busy"
	// queryArg is an argument of nvidia-smi; it may come several times.
	queryArg = "arg"
	// pathContainers is the list of containers.
	pathContainers = "/containers/json"
	// pathSMI is a node's own nvidia-smi.
	pathSMI = "/ddocker/local/nvidia-smi"
	// pathGPUs is what a node knows of its cards.
	pathGPUs = "/ddocker/local/gpus"
	// pathHere is answered by the node itself, without its engine.
	pathHere = "/ddocker/local/here"
)

// maxBody bounds the bodies that are read whole, in bytes.
const maxBody = 4 << 20

// Local carries out requests for this node's own engine. They come from the
// cluster's API, of this node or of another, and have passed its table there:
// whoever holds a node's certificate is trusted with that.
type Local struct {
	self, name, socket string
	looking            chan struct{} // one for each look at the host's disks
	node               Node
	furnishOne         func(ctx context.Context, network string) error
	images             Images
	update             func(ctx context.Context, container, version string, body []byte) (status int, reply []byte, err error)
	ledger             Log
	engine             http.RoundTripper
	engineImage        func(ctx context.Context, id string) string
	clusterImage       func(ctx context.Context, id string) string
	proxy              *httputil.ReverseProxy
	buffers            *buffers // of this node's proxies
	ranges             func(ctx context.Context) (oldest, newest string, err error)
	audit              *audit.Log
	smi                func(ctx context.Context, args []string) (string, error)
	gpus               func() gpu.State
	crash              crash.Point
}

func newLocal(cfg Config) *Local {
	lent := new(buffers)
	return &Local{
		buffers:      lent,
		self:         cfg.Self,
		name:         cfg.Name,
		looking:      make(chan struct{}, maxLooking),
		socket:       cfg.Socket,
		node:         cfg.Node,
		furnishOne:   cfg.Furnish,
		images:       cfg.Images,
		update:       cfg.Update,
		ledger:       cfg.Log,
		engine:       cfg.Engine.RoundTripper(),
		engineImage:  cfg.EngineImage,
		clusterImage: cfg.ClusterImage,
		ranges:       cfg.Engine.Versions,
		audit:        cfg.Audit,
		smi:          cfg.SMI,
		gpus:         cfg.GPUs,
		crash:        cfg.Crash,
		proxy:        forward(cfg.Engine.RoundTripper(), "the Docker Engine of "+cfg.Name, cfg.Logger, lent),
	}
}

// forward passes requests on as they are, with streams and hijacked connections.
func forward(to http.RoundTripper, whom string, log *slog.Logger, lent *buffers) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:     to,
		FlushInterval: -1,
		BufferPool:    lent,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "ddocker"})
			r.Out.Host = "ddocker"
			if bulky(r.Out.URL.Path) {
				r.Out.Body = inBulk(r.Out.Body, lent)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusSwitchingProtocols {
				// Else net/http adds Content-Length: 0 to the answer to a POST.
				get := *r.Request
				get.Method = http.MethodGet
				r.Request = &get
			}
			if s, ok := r.Request.Context().Value(streamKey{}).(*stream); ok {
				s.watch(r)
			}
			if way, ok := r.Body.(io.ReadWriteCloser); ok && r.StatusCode == http.StatusSwitchingProtocols {
				r.Body = flowing{way, lent}
			}
			if bulky(r.Request.URL.Path) {
				r.Body = inBulk(r.Body, lent)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			fail(w, http.StatusBadGateway, "%s does not answer: %s", whom, err)
		},
	}
}

// ServeHTTP carries out one request.
func (l *Local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version, path := splitVersion(r.URL.Path)
	switch path {
	case pathHere:
		w.WriteHeader(http.StatusNoContent)
		return
	case pathBring:
		l.bring(w, r)
		return
	case pathGPUs:
		l.cards(w)
		return
	case pathAudit:
		l.auditLog(w, r)
		return
	case pathSettle:
		l.settle(w, r)
		return
	case pathFurnish:
		l.furnish(w, r)
		return
	}
	version, err := l.clamp(r.Context(), version)
	if err != nil {
		fail(w, http.StatusBadGateway, "the Docker Engine does not answer: %s", err)
		return
	}
	switch {
	case r.Method == http.MethodPost && path == "/containers/create":
		l.create(w, r, version)
	case r.Method == http.MethodPost && path == "/commit":
		l.commit(w, r, version)
	case r.Method == http.MethodPost && updatePath.MatchString(path):
		l.limit(w, r, version, updatePath.FindStringSubmatch(path)[1])
	case path == pathEvents:
		l.events(w, r, version)
	case r.Method == http.MethodPost && path == "/containers/prune":
		l.pruned(w, r, version)
	case path == pathSMI:
		text, err := l.smi(r.Context(), r.URL.Query()[queryArg])
		switch {
		case errors.Is(err, gpu.ErrRefused):
			fail(w, http.StatusBadRequest, "%s", err)
			return
		case err != nil:
			fail(w, http.StatusNotFound, "%s", err)
			return
		}
		io.WriteString(w, text)
	default:
		l.pass(w, r, version, path)
	}
}

// pass hands the request to the engine.
func (l *Local) pass(w http.ResponseWriter, r *http.Request, version, path string) {
	out := r.Clone(r.Context())
	out.URL.Path, out.URL.RawPath = l.toEngine(r.Context(), out.URL, path), ""
	if version != "" {
		out.URL.Path = "/v" + version + out.URL.Path
	}
	if start := startPath.FindStringSubmatch(path); start != nil && r.Method == http.MethodPost {
		if err := l.admitStart(r.Context(), start[1]); err != nil {
			failWith(w, err)
			return
		}
	}
	id, removal := strings.CutPrefix(path, "/containers/")
	if removal = removal && r.Method == http.MethodDelete; removal {
		l.crash.At(crash.RemoveBegun)
		w = &afterSuccess{ResponseWriter: w, then: func() error { return l.removed(r.Context(), id) }}
	}
	if path == pathContainers {
		tellBusy(w.Header(), l.gpus())
	}
	if l.clusterImage != nil && tells(r.Method, path) {
		l.translate(w, out)
		return
	}
	if bulky(path) {
		w = unflushed{w}
	}
	l.proxy.ServeHTTP(w, out)
}

// removed has the cluster know of a removal before the client does.
func (l *Local) removed(ctx context.Context, container string) error {
	l.crash.At(crash.RemoveDone)
	err := l.node.Removed(ctx, container)
	l.crash.At(crash.RemoveReleased)
	return err
}

// clamp returns the API version nearest to the client's that the engine speaks.
func (l *Local) clamp(ctx context.Context, version string) (string, error) {
	if version == "" {
		return "", nil
	}
	oldest, newest, err := l.ranges(ctx)
	switch {
	case err != nil:
		return "", err
	case versions.LessThan(version, oldest):
		return oldest, nil
	case versions.GreaterThan(version, newest):
		return newest, nil
	}
	return version, nil
}

// create makes the container of a placement.
func (l *Local) create(w http.ResponseWriter, r *http.Request, version string) {
	query := r.URL.Query()
	index, err := strconv.ParseUint(query.Get(queryIndex), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, "read the index of the placement: %s", err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, http.StatusBadRequest, "read the request: %s", err)
		return
	}
	if body, err = l.ownSocket(body); err == nil {
		err = l.admitPlaced(r.Context(), query.Get(queryPlacement), index, body)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	status, answer, err := l.node.Realize(r.Context(), query.Get(queryPlacement), index, version, body)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(answer)
}

// afterSuccess does something between the engine's success and the client's
// hearing of it.
type afterSuccess struct {
	http.ResponseWriter
	then func() error
	done bool
}

// WriteHeader does it, once, where the status says that the request has had its
// effect, or that there was nothing left to do.
func (a *afterSuccess) WriteHeader(status int) {
	success := status/100 == 2
	if !a.done && (success || status == http.StatusNotFound) {
		a.done = true
		if err := a.then(); err != nil && success {
			a.Header().Set("Warning", fmt.Sprintf("199 ddocker %q", err.Error()))
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (a *afterSuccess) Unwrap() http.ResponseWriter { return a.ResponseWriter }
