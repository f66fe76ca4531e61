package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// stallTimeout is how long an engine may leave an archive unread, or send
	// nothing of one.
	stallTimeout = 2 * time.Minute
	// spoolTimeout is how long it may be silent with an archive that it has whole
	// but not yet unpacked, or before the first byte of one that it writes out.
	spoolTimeout = 30 * time.Minute
)

// errStalled is the cause of the end of a transfer that stood still.
var errStalled = errors.New("the engine neither reads nor answers")

// stall is the clock of a transfer: it calls cancel with errStalled when the
// engine was silent for as long as it may be. Waits for others do not count.
type stall struct {
	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	patience time.Duration
	paused   bool
	ended    bool
}

// newStall returns a clock that runs.
func newStall(patience time.Duration, cancel context.CancelCauseFunc) *stall {
	return &stall{patience: patience, timer: time.AfterFunc(patience, func() { cancel(errStalled) })}
}

// restart counts anew: the engine has spoken.
func (s *stall) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused && !s.ended {
		s.timer.Reset(s.patience)
	}
}

// pause stops the clock until resume.
func (s *stall) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = true
	s.timer.Stop()
}

// resume waits for the engine again, up to patience.
func (s *stall) resume(patience time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused, s.patience = false, patience
	if !s.ended {
		s.timer.Reset(patience)
	}
}

// end stops the clock for good.
func (s *stall) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
}
