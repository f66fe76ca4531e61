package image

import (
	"sync"
	"time"
)

// What Progress says of a layer: Docker's words for pulls.
const (
	StatusHeld       = "Already exists"
	StatusWanted     = "Pulling fs layer"
	StatusComing     = "Downloading"
	StatusDownloaded = "Download complete"
	StatusPulled     = "Pull complete"
)

// reportEvery bounds how often the bytes of a layer are reported.
const reportEvery = 100 * time.Millisecond

// Progress is news of one layer that is brought.
type Progress struct {
	// Layer is its DiffID.
	Layer string
	// Status is one of the statuses above.
	Status string
	// Current and Total are bytes, while the status is StatusComing.
	Current, Total int64
}

// board is where a flight shows how far it is. Its callers read at their own
// pace: they get each change of a status, and of the bytes the latest.
type board struct {
	mu      sync.Mutex
	steps   []Progress
	last    map[string]string // status by layer
	coming  Progress
	shown   time.Time // when coming changed last
	waiters chan struct{}
}

// step shows that a layer's status changed.
func (b *board) step(layer, status string, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = map[string]string{}
	}
	if b.last[layer] == status {
		return
	}
	b.last[layer] = status
	b.steps = append(b.steps, Progress{Layer: layer, Status: status, Total: total})
	b.coming = Progress{}
	b.wake()
}

// move shows how much of the layer came that is on its way.
func (b *board) move(layer string, current, total int64) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.shown) < reportEvery {
		return
	}
	b.shown = now
	b.coming = Progress{Layer: layer, Status: StatusComing, Current: current, Total: total}
	b.wake()
}

// wake is called with b.mu held.
func (b *board) wake() {
	if b.waiters != nil {
		close(b.waiters)
		b.waiters = nil
	}
}

// reader tells one caller what is new since it last read.
type reader struct {
	*board
	seen   int
	coming Progress
}

// news returns what there is to report, and what is closed when there is more.
func (r *reader) news() ([]Progress, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := r.steps[r.seen:len(r.steps):len(r.steps)]
	r.seen = len(r.steps)
	if r.coming != r.board.coming {
		r.coming = r.board.coming
		if r.coming.Layer != "" {
			news = append(news, r.coming)
		}
	}
	if r.waiters == nil {
		r.waiters = make(chan struct{})
	}
	return news, r.waiters
}
