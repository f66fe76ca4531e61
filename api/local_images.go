package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"ddocker/engine"
	"ddocker/image"
)

// What nodes ask each other of images, and what goes with it.
const (
	pathBring  = "/ddocker/local/bring"
	pathSettle = "/ddocker/local/settle"
	queryClaim = "ddocker.claim"
	queryName  = "ddocker.name"
	queryOwner = "ddocker.owner"
)

// bringLine is one line of the answer to a bring. The last one says how it ended.
type bringLine struct {
	image.Progress
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

// heartbeat is how often a bring gives a sign of life, whatever happens.
const heartbeat = 5 * time.Second

// bring brings an image here and tells of it, a line of JSON each time.
func (l *Local) bring(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	lines, flush := json.NewEncoder(w), http.NewResponseController(w)
	last := time.Now()
	flush.Flush()
	l.catchUp(r.Context(), query.Get(queryIndex))
	err := follow(func(report func(image.Progress)) error {
		return l.images.Bring(r.Context(), query.Get("id"), query.Get("name"), report)
	}, func(news []image.Progress) {
		if len(news) == 0 && time.Since(last) >= heartbeat {
			news = []image.Progress{{}}
		}
		for _, p := range news {
			lines.Encode(bringLine{Progress: p}) // an error is a caller that has gone
			last = time.Now()
		}
		if len(news) > 0 {
			flush.Flush()
		}
	})
	end := bringLine{Done: err == nil}
	if err != nil {
		end.Error = err.Error()
	}
	lines.Encode(end)
}

// catchUp waits until this node knows what the node that asks does, but no longer
// than ten seconds: without that it may still do what is asked.
func (l *Local) catchUp(ctx context.Context, index string) {
	if at, err := strconv.ParseUint(index, 10, 64); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		l.ledger.Wait(ctx, at) // an error is a wait that was too long
	}
}

// settle has this engine's names agree with the ledger's.
func (l *Local) settle(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.ParseUint(r.URL.Query().Get(queryIndex), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, "read the index to settle: %s", err)
		return
	}
	removed, err := l.images.SettleImages(r.Context(), index)
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, append([]engine.RemovedImage{}, removed...))
}

// commit makes an image of a container of this node.
func (l *Local) commit(w http.ResponseWriter, r *http.Request, version string) {
	query := r.URL.Query()
	c := Commit{Claim: query.Get(queryClaim), Name: query.Get(queryName), Owner: query.Get(queryOwner), Version: version}
	var err error
	if c.Index, err = strconv.ParseUint(query.Get(queryIndex), 10, 64); err != nil {
		fail(w, http.StatusBadRequest, "read the index of the claim: %s", err)
		return
	}
	if c.Body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		fail(w, http.StatusBadRequest, "read the request: %s", err)
		return
	}
	for _, own := range []string{queryClaim, queryName, queryOwner, queryIndex} {
		query.Del(own)
	}
	c.Query = query.Encode()
	status, answer, err := l.images.Commit(r.Context(), c)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(answer)
}

// open sends a request to the engine and returns its answer, whose body is the
// caller's to close. It may be as long as it likes.
func (l *Local) open(r *http.Request, version string) (*http.Response, error) {
	version, err := l.clamp(r.Context(), version)
	if err != nil {
		return nil, err
	}
	if version != "" {
		r.URL.Path = "/v" + version + r.URL.Path
	}
	return l.engine.RoundTrip(r)
}

var (
	imageByID   = regexp.MustCompile(`^/images/(sha256:[0-9a-f]{64})(/[a-z]+)?$`)
	inspectPath = regexp.MustCompile(`^/images/.+/json$`)
)

// toEngine puts the engine's own IDs of images in the place of the cluster's.
func (l *Local) toEngine(ctx context.Context, u *url.URL, path string) string {
	if path == "/images/get" {
		query := u.Query()
		for i, name := range query["names"] {
			if imageByID.MatchString("/images/" + name) {
				query["names"][i] = l.engineImage(ctx, name)
			}
		}
		u.RawQuery = query.Encode()
	}
	if m := imageByID.FindStringSubmatch(path); m != nil {
		return "/images/" + l.engineImage(ctx, m[1]) + m[2]
	}
	return path
}

// translate hands the request to the engine, and puts the cluster's IDs of images
// in the place of the engine's own in its answer.
func (l *Local) translate(w http.ResponseWriter, out *http.Request) {
	answer := &record{header: http.Header{}, status: http.StatusOK}
	l.proxy.ServeHTTP(answer, out)
	body := answer.body.Bytes()
	if answer.status == http.StatusOK {
		body = fromEngine(body, func(id string) string { return l.clusterImage(out.Context(), id) })
	}
	for key, values := range answer.header {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.status)
	w.Write(body)
}

// fromEngine puts the cluster's IDs in the place of the engine's own, in what it
// tells of one image or of all.
func fromEngine(body []byte, clusterID func(engineID string) string) []byte {
	var one row
	var all []row
	if json.Unmarshal(body, &all) != nil {
		if json.Unmarshal(body, &one) != nil {
			return body
		}
		all = []row{one}
	}
	changed := false
	for _, r := range all {
		var own string
		if json.Unmarshal(r["Id"], &own) != nil || own == "" {
			continue
		}
		if id := clusterID(own); id != own {
			r["Id"], changed = raw(id), true
		}
	}
	switch {
	case !changed:
		return body
	case one != nil:
		return raw(one)
	}
	return raw(all)
}

// tells says whether the request is for what the engine tells of images.
func tells(method, path string) bool {
	return method == get && (path == "/images/json" || inspectPath.MatchString(path))
}
