package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ddocker/crash"
)

// errBusy says that this host sends as much as it can.
var errBusy = errors.New("too many layers are being sent from here")

// span is the part of a layer that is asked for: bytes from up to, and without, to.
type span struct {
	from, to int64 // to is -1 for the end
}

// spanOf reads a Range of one part.
func spanOf(r *http.Request) (span, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok {
		return span{0, -1}, nil
	}
	first, last, _ := strings.Cut(text, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	to := int64(-1)
	if err == nil && last != "" {
		to, err = strconv.ParseInt(last, 10, 64)
		to++
	}
	if err != nil || from < 0 || to >= 0 && to <= from {
		return span{}, fmt.Errorf("range %.80q: %w", text, errPassed)
	}
	return span{from, to}, nil
}

// within fits the span to a layer of size bytes.
func (s span) within(size int64) (span, error) {
	if s.to < 0 || s.to > size {
		s.to = size
	}
	if s.from >= s.to {
		return s, fmt.Errorf("byte %d of %d: %w", s.from, size, errPassed)
	}
	return s, nil
}

func (m *Mover) serveLayer(w http.ResponseWriter, r *http.Request) {
	select {
	case m.serving <- struct{}{}:
		defer func() { <-m.serving }()
	default:
		refuse(w, errBusy)
		return
	}
	p := part{r.PathValue("id"), r.PathValue("chain")}
	asked, err := spanOf(r)
	if err != nil {
		refuse(w, err)
		return
	}
	m.mu.Lock()
	fl := m.flows[p]
	m.mu.Unlock()
	if fl != nil {
		err = m.forward(w, r, fl, asked)
	} else {
		err = m.send(w, r, p, asked)
	}
	if err != nil {
		refuse(w, err)
	}
}

// forward sends a layer that comes in here. An error means that nothing was sent.
func (m *Mover) forward(w http.ResponseWriter, r *http.Request, fl *flow, asked span) error {
	asked, err := asked.within(fl.size)
	if err != nil {
		return err
	}
	fo, err := fl.follow(asked.from, r.URL.Query().Has("join"))
	if err != nil {
		return err
	}
	defer fo.close()
	asked.from = fo.pos
	if asked, err = asked.within(fl.size); err != nil {
		return err
	}
	m.copyOut(w, asked, fl.size, func(p []byte) (int, error) { return fo.read(r.Context(), p) })
	return nil
}

// send sends a layer that this host has, or leads to a node that forwards it. An
// error means that nothing was sent.
func (m *Mover) send(w http.ResponseWriter, r *http.Request, p part, asked span) error {
	im, err := m.lookUp(w, r)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(im.Layers, func(l Layer) bool { return l.Chain == p.chain })
	if i < 0 {
		return fmt.Errorf("layer %.80q: %w", p.chain, ErrUnknown)
	}
	size := im.Layers[i].Size
	if asked, err = asked.within(size); err != nil {
		return err
	}
	q := r.URL.Query()
	forwarder, s := m.lines.join(p, newcomer{m.cfg.From(r), asked, size, q.Has("direct") || q.Has("join")})
	if forwarder != "" {
		w.Header().Set(forwarderHeader, forwarder)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return nil
	}
	defer m.lines.leave(p)
	body, err := patiently(w, r, func(ctx context.Context) (io.ReadCloser, error) {
		return m.cfg.Backend.Open(ctx, p.id, p.chain, asked.from)
	})
	if err != nil {
		return err
	}
	defer body.Close()
	m.copyOut(w, asked, size, func(p []byte) (int, error) {
		n, err := body.Read(p)
		s.pos.Add(int64(n))
		return n, err
	})
	return nil
}

// copyOut sends part of a layer of size bytes. When the bytes end too early, or the
// node that gets them takes none for stallTimeout, the connection breaks.
func (m *Mover) copyOut(w http.ResponseWriter, asked span, size int64, read func([]byte) (int, error)) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(asked.to-asked.from, 10))
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", asked.from, asked.to-1, size))
	w.WriteHeader(http.StatusPartialContent)
	out := http.NewResponseController(w)
	out.Flush() // the receiver may have to wait for the first byte
	buffer := m.chunks.Get().(*[]byte)
	defer m.chunks.Put(buffer)
	for at := asked.from; at < asked.to; {
		n, err := read((*buffer)[:min(chunkSize, asked.to-at)])
		if n > 0 {
			out.SetWriteDeadline(time.Now().Add(stallTimeout)) // without deadlines it waits as long as the connection lasts
			if _, err := w.Write((*buffer)[:n]); err != nil {
				return
			}
			at += int64(n)
			m.cfg.Crash.At(crash.ImageSending)
		}
		if err != nil && at < asked.to {
			panic(http.ErrAbortHandler)
		}
	}
	out.SetWriteDeadline(time.Time{}) // the connection may serve on
}
