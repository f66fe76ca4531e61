package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/docker/pkg/progress"
	"github.com/docker/docker/pkg/streamformatter"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

// beat is how often somebody who watches a transfer is told of it.
const beat = 100 * time.Millisecond

// mailbox keeps what was reported until somebody takes it: the transfer never
// waits for whoever watches it. Of how far a layer is only the newest is kept, so
// that it holds no more than a few reports a layer.
type mailbox struct {
	mu   sync.Mutex // guards list
	list []image.Progress
}

func (m *mailbox) put(p image.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.list {
		if m.list[i].Layer == p.Layer && m.list[i].Status == p.Status {
			m.list[i] = p
			return
		}
	}
	m.list = append(m.list, p)
}

func (m *mailbox) take() []image.Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	m.list = nil
	return list
}

// follow runs bring and writes what it reports, every beat, even if that is
// nothing; the last time when bring has returned. Only follow's own goroutine
// writes.
func follow(bring func(report func(image.Progress)) error, write func([]image.Progress)) error {
	var box mailbox
	done := make(chan error, 1)
	go func() { done <- bring(box.put) }()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			write(box.take())
		case err := <-done:
			write(box.take())
			return err
		}
	}
}

// messages writes Docker's JSON messages to a client, each at once. Several
// goroutines may write.
type messages struct {
	mu    sync.Mutex // guards the writer and begun
	w     http.ResponseWriter
	begun bool
}

// Write writes whole messages.
func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.begun {
		m.begun = true
		m.w.Header().Set("Content-Type", "application/json")
		m.w.WriteHeader(http.StatusOK)
	}
	n, err := m.w.Write(p)
	http.NewResponseController(m.w).Flush() // where it cannot flush it need not
	return n, err
}

func (m *messages) status(id, format string, args ...any) {
	m.Write(streamformatter.FormatStatus(id, format, args...)) // an error is a client that has gone
}

func (m *messages) stream(text string) {
	line, err := json.Marshal(jsonmessage.JSONMessage{Stream: text})
	if err != nil {
		line = streamformatter.FormatError(err)
	}
	m.Write(append(line, "\r\n"...))
}

// fail tells of an error: by a status while none has been sent, else as the last
// message.
func (m *messages) fail(err error) {
	m.mu.Lock()
	begun := m.begun
	m.mu.Unlock()
	var told *jsonmessage.JSONError
	switch {
	case errors.As(err, &told):
		m.Write(streamformatter.FormatError(told)) // as the engine did
	case begun:
		m.Write(streamformatter.FormatError(err))
	default:
		failWith(m.w, err)
	}
}

// layers writes how far layers are, as docker pull shows it.
func layers(out progress.Output, list []image.Progress) {
	for _, p := range list {
		if p.Layer == "" || p.Status == "" {
			continue
		}
		out.WriteProgress(progress.Progress{ID: ledger.Short(p.Layer), Action: p.Status, Current: p.Current, Total: p.Total})
	}
}
