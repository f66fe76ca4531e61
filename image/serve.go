package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"ddocker/crash"
)

const (
	// mostStreams bounds how many layers are sent at the same time.
	mostStreams = 64
	// sayingEvery is how often a node says that it works on an answer.
	sayingEvery = 10 * time.Second
	// forwarderHeader names the node that forwards a layer.
	forwarderHeader = "Ddocker-Forwarder"
)

// Handler serves this host's images to other nodes:
//
//	GET /rpc/image/{id}                an Image, as JSON
//	GET /rpc/image/{id}/layer/{chain}  bytes of a layer, by Range
//
// The second is answered with 307 and the name of another node in Ddocker-Forwarder
// when that one receives the layer just now and forwards it, except with direct=1.
// A receiver serves what is in its window; with join=1 and too late for that, from
// where it is, as Content-Range says.
func (m *Mover) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rpc/image/{id}", m.serveImage)
	mux.HandleFunc("GET /rpc/image/{id}/layer/{chain}", m.serveLayer)
	return mux
}

func (m *Mover) serveImage(w http.ResponseWriter, r *http.Request) {
	im, err := m.lookUp(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	m.cfg.Crash.At(crash.ImageDescribing)
	text, err := json.Marshal(im)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text) // a reader that is gone needs no answer
}

// lookUp finds the image of a request, which may take an engine long.
func (m *Mover) lookUp(w http.ResponseWriter, r *http.Request) (*Image, error) {
	id := r.PathValue("id")
	if !isDigest(id) {
		return nil, fmt.Errorf("%w %.80q", ErrUnknown, id)
	}
	return patiently(w, r, func(ctx context.Context) (*Image, error) { return m.cfg.Backend.Image(ctx, id) })
}

// patiently waits for a result and tells the client from time to time that it is
// worked on. The result of do is waited for even when the client is gone.
func patiently[T any](w http.ResponseWriter, r *http.Request, do func(context.Context) (T, error)) (T, error) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = do(r.Context())
	}()
	tick := time.NewTicker(sayingEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return result, err
		case <-tick.C:
			w.WriteHeader(http.StatusProcessing)
		}
	}
}

// refuse answers with an error in plain text.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, errPassed):
		status = http.StatusRequestedRangeNotSatisfiable
	case errors.Is(err, errBusy):
		status = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), status)
}
