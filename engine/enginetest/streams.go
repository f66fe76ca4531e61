package enginetest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/docker/docker/api/types/container"
)

// flush reports whether the reader is still there, as far as that is known.
func flush(w http.ResponseWriter) bool {
	return http.NewResponseController(w).Flush() == nil
}

// streamWait is POST /containers/{id}/wait. Its headers go out at once: docker
// run starts the container only then.
func (t *Twin) streamWait(w http.ResponseWriter, r *http.Request) {
	done := make(chan int, 1)
	var b *box
	var life chan struct{}
	rep, ok := t.perform(r.Context(), Read, func() reply {
		var refusal *reply
		if b, refusal = t.lookup(r.PathValue("id")); refusal != nil {
			return *refusal
		}
		life = t.life
		switch condition := r.FormValue("condition"); {
		case condition == string(container.WaitConditionRemoved):
			b.untilRm = append(b.untilRm, done)
		case condition == string(container.WaitConditionNextExit) || b.running:
			b.untilExit = append(b.untilExit, done)
		default:
			done <- b.exit
		}
		return reply{status: http.StatusOK}
	})
	if !ok {
		return
	}
	if b != nil {
		defer t.leave(b, done)
	}
	if rep.status != http.StatusOK {
		write(w, rep)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	flush(w)
	select {
	case code := <-done:
		json.NewEncoder(w).Encode(container.WaitResponse{StatusCode: int64(code)}) // a caller that has gone cannot be told
	case <-life:
	case <-r.Context().Done():
	}
}

// leave takes a waiter off the container's lists.
func (t *Twin) leave(b *box, done chan int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := func(ch chan int) bool { return ch == done }
	b.untilExit = slices.DeleteFunc(b.untilExit, is)
	b.untilRm = slices.DeleteFunc(b.untilRm, is)
}

// streamLogs is GET /containers/{id}/logs: all there is, and with follow the
// end of the container, too. A container writes nothing while it runs on.
func (t *Twin) streamLogs(w http.ResponseWriter, r *http.Request) {
	c := call{Request: r}
	if !c.flag("stdout") && !c.flag("stderr") {
		write(w, refuse(http.StatusBadRequest, "Bad parameters: you must choose at least one stream"))
		return
	}
	done := make(chan int, 1)
	var b *box
	var out []byte
	var life chan struct{}
	rep, ok := t.perform(r.Context(), Read, func() reply {
		var refusal *reply
		if b, refusal = t.lookup(r.PathValue("id")); refusal != nil {
			return *refusal
		}
		life, out = t.life, slices.Clone(b.out)
		if c.flag("follow") && b.running {
			b.untilExit = append(b.untilExit, done)
		} else {
			done <- b.exit
		}
		return reply{status: http.StatusOK}
	})
	if !ok {
		return
	}
	if b != nil {
		defer t.leave(b, done)
	}
	if rep.status != http.StatusOK {
		write(w, rep)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
	w.Write(out)
	flush(w)
	select {
	case <-done:
	case <-life:
	case <-r.Context().Done():
	}
}
