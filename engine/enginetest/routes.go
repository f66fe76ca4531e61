package enginetest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/docker/docker/api/types/versions"
)

// maxBody bounds request bodies, in bytes.
const maxBody = 4 << 20

// call is one request, read whole: whoever sent it may leave.
type call struct {
	*http.Request
	body []byte
}

// routes is the table of what the twin answers.
func (t *Twin) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range []struct {
		pattern string
		op      Op
		do      func(call) reply
	}{
		{"GET /_ping", Read, t.ping},
		{"GET /version", Read, t.version},
		{"GET /info", Read, t.info},
		{"GET /system/df", Read, t.diskUsage},
		{"GET /containers/json", Read, t.list},
		{"POST /containers/create", Create, t.create},
		{"POST /containers/prune", Remove, t.pruneBoxes},
		{"POST /build", Commit, t.buildImage},
		{"POST /build/prune", Change, t.pruneBuilds},
		{"GET /containers/{id}/json", Read, t.with(t.inspect)},
		{"POST /containers/{id}/start", Start, t.with(t.startBox)},
		{"POST /containers/{id}/stop", Stop, t.with(t.stopBox)},
		{"POST /containers/{id}/kill", Stop, t.with(t.killBox)},
		{"POST /containers/{id}/rename", Rename, t.with(t.rename)},
		{"POST /containers/{id}/update", Update, t.with(t.update)},
		{"PUT /containers/{id}/archive", Change, t.with(t.putArchive)},
		{"GET /containers/{id}/changes", Read, t.with(t.changes)},
		{"DELETE /containers/{id}", Remove, t.with(t.remove)},
		{"POST /containers/{id}/exec", Exec, t.with(t.createExec)},
		{"POST /exec/{id}/resize", Exec, t.resizeExec},
		{"GET /exec/{id}/json", Read, t.inspectExec},
		{"GET /images/json", Read, t.listImages},
		{"POST /images/{ref...}", Change, t.imageChange},
		{"POST /images/prune", Change, t.pruneImages},
		{"DELETE /images/{ref...}", Change, t.removeImage},
		{"POST /commit", Commit, t.commit},
		{"GET /networks", Read, t.listNetworks},
		{"POST /networks/create", Change, t.createNetwork},
		{"POST /networks/prune", Change, t.pruneNetworks},
		{"GET /networks/{id}", Read, t.inspectNetwork},
		{"DELETE /networks/{id}", Change, t.removeNetwork},
		{"POST /networks/{id}/connect", Change, t.connectNetwork},
		{"POST /networks/{id}/disconnect", Change, t.connectNetwork},
		{"GET /volumes", Read, t.listVolumes},
		{"POST /volumes/create", Change, t.createVolume},
		{"POST /volumes/prune", Change, t.pruneVolumes},
		{"GET /volumes/{name}", Read, t.inspectVolume},
		{"DELETE /volumes/{name}", Change, t.removeVolume},
	} {
		mux.HandleFunc(r.pattern, t.answer(r.op, r.do))
	}
	mux.HandleFunc("POST /containers/{id}/wait", t.streamWait)
	mux.HandleFunc("GET /containers/{id}/logs", t.streamLogs)
	mux.HandleFunc("POST /exec/{id}/start", t.streamExec)
	mux.HandleFunc("POST /session", t.streamSession)
	mux.HandleFunc("POST /grpc", t.streamSession)
	mux.HandleFunc("GET /events", t.streamEvents)
	mux.HandleFunc("POST /images/load", t.streamLoad)
	mux.HandleFunc("POST /images/create", t.streamCreate)
	mux.HandleFunc("GET /images/get", t.streamSave)
	mux.HandleFunc("GET /images/{ref...}", t.imageRoute)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, refuse(http.StatusNotFound, "page not found"))
	})
	return mux
}

// versioned is a path that begins with an API version.
func versioned(path string) (version, rest string, ok bool) {
	version, rest, ok = strings.Cut(strings.TrimPrefix(path, "/v"), "/")
	return version, "/" + rest, ok && strings.HasPrefix(path, "/v1.")
}

func (t *Twin) serveHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	if !t.serving {
		t.mu.Unlock()
		return
	}
	t.tasks.Add(1)
	t.mu.Unlock()
	defer t.tasks.Done()
	h := w.Header()
	h["Api-Version"] = []string{t.cfg.API}
	h["Docker-Experimental"] = []string{"false"}
	h["Ostype"] = []string{"linux"}
	h["Server"] = []string{"Docker/" + t.cfg.EngineVersion + " (linux)"}
	if version, rest, ok := versioned(r.URL.Path); ok {
		switch {
		case versions.GreaterThan(version, t.cfg.API):
			write(w, refuse(http.StatusBadRequest, "client version %s is too new. Maximum supported API version is %s", version, t.cfg.API))
			return
		case versions.LessThan(version, t.cfg.MinAPI):
			write(w, refuse(http.StatusBadRequest, "client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", version, t.cfg.MinAPI))
			return
		}
		r.URL.Path, r.URL.RawPath = rest, ""
	}
	t.mux.ServeHTTP(w, r)
}

// answer makes a handler of a function that runs under the lock.
func (t *Twin) answer(op Op, do func(call) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := receive(r)
		if err != nil {
			write(w, refuse(http.StatusBadRequest, "%v", err))
			return
		}
		if rep, ok := t.perform(r.Context(), op, func() reply { return do(c) }); ok {
			write(w, rep)
		}
	}
}

func receive(r *http.Request) (call, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return call{}, fmt.Errorf("read body: %w", err)
	}
	return call{r, body}, nil
}

// decode reads the body's JSON the way moby does, with its complaints.
func (c call) decode(into any) *reply {
	kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if kind != "application/json" {
		r := refuse(http.StatusBadRequest, "Content-Type specified (%s) must be 'application/json'", kind)
		return &r
	}
	if err := json.Unmarshal(c.body, into); err != nil {
		r := refuse(http.StatusBadRequest, "%v", err)
		return &r
	}
	return nil
}

func (c call) flag(name string) bool {
	switch v := strings.ToLower(c.FormValue(name)); v {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

func refuse(status int, format string, args ...any) reply {
	return reply{status, map[string]string{"message": fmt.Sprintf(format, args...)}}
}

func write(w http.ResponseWriter, r reply) {
	switch body := r.body.(type) {
	case nil:
		w.WriteHeader(r.status)
	case string:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(r.status)
		io.WriteString(w, body)
	case stream:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(r.status)
		body.writeTo(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(r.status)
		json.NewEncoder(w).Encode(body) // a caller that has gone cannot be told
	}
}
