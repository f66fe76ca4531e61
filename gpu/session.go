package gpu

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// maxLine bounds a line of the child, in bytes: a card takes about 300, a process
// on it 150.
const maxLine = 4 << 20

// outcome is how the life of one child went.
type outcome int

const (
	failed outcome = iota // it never told of cards
	worked                // it told of cards, then ended
	absent                // it found no NVML library
)

// session runs one child to its end. Unless the child found no library, the
// cards are unknown when it returns.
func (r *Reader) session(ctx context.Context) outcome {
	var complaint tail
	cmd := r.command()
	cmd.Stderr = &complaint
	cmd.WaitDelay = grace
	lines, err := cmd.StdoutPipe()
	if err != nil {
		r.lose(fmt.Sprintf("start GPU reader: %v", err))
		return failed
	}
	if err := cmd.Start(); err != nil {
		r.lose(fmt.Sprintf("start GPU reader: %v", err))
		return failed
	}
	out, why := r.follow(ctx, cmd, lines)
	if out != absent || why != "" {
		r.lose(reason(why, nil, ""))
	}
	err = reap(ctx, cmd.Wait, func() { _ = cmd.Process.Kill() }) // an error means that it has ended
	if out == absent && why == "" && err == nil {
		return absent
	}
	r.lose(reason(why, err, complaint.String()))
	if out == absent {
		return failed
	}
	return out
}

// follow takes the child's lines until they end, and kills a child that is
// silent for too long or outlives ctx. It returns why it ended the child, "" if
// the child ended by itself.
func (r *Reader) follow(ctx context.Context, cmd *exec.Cmd, lines io.ReadCloser) (outcome, string) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unwatch := context.AfterFunc(ctx, func() {
		_ = cmd.Process.Kill() // an error means that it has ended
		_ = lines.Close()      // a child that cannot die keeps its end open
	})
	defer unwatch()
	silence := fmt.Errorf("GPU reader is silent for %v", r.patience)
	alarm := time.AfterFunc(r.patience, func() { cancel(silence) })
	defer alarm.Stop()

	out := failed
	scan := bufio.NewScanner(lines)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		alarm.Reset(r.patience)
		said, err := r.take(scan.Bytes())
		if err != nil {
			cancel(err)
			break
		}
		out = max(out, said)
	}
	if err := scan.Err(); err != nil {
		cancel(fmt.Errorf("read cards: %w", err))
	}
	if cause := context.Cause(ctx); cause != nil {
		return out, cause.Error()
	}
	return out, ""
}

// take takes one line to heart.
func (r *Reader) take(line []byte) (outcome, error) {
	var said report
	if err := json.Unmarshal(line, &said); err != nil {
		return failed, fmt.Errorf("read cards: %w", err)
	}
	switch {
	case said.Absent:
		r.set(State{Known: true})
		return absent, nil
	case said.Busy != "":
		r.lose("GPU driver is slow: " + said.Busy)
		return failed, nil
	case said.Cards == nil:
		return failed, errors.New(cmp.Or(said.Error, "GPU reader tells of no cards"))
	}
	r.stamp(said.Cards, time.Now())
	r.set(State{Cards: said.Cards, Driver: said.Driver, CUDA: said.CUDA, Known: true, Reason: said.Error})
	return worked, nil
}

// reap waits for the child to end, and kills one that only closed its output.
// The kernel can keep a killed process for as long as a driver hangs. Meanwhile
// the cards are unknown and no second child is started beside the first; the
// end of ctx cuts the wait short.
func reap(ctx context.Context, wait func() error, kill func()) error {
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		kill()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return errors.New("GPU reader does not end")
	}
}

// reason puts together why the cards are unknown: we ended the child, or it
// ended itself and may have said why.
func reason(why string, err error, complaint string) string {
	switch {
	case why != "":
		return why
	case complaint != "" && err != nil:
		return fmt.Sprintf("GPU reader ended: %v: %s", err, complaint)
	case err != nil:
		return fmt.Sprintf("GPU reader ended: %v", err)
	}
	return "GPU reader ended"
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // an abandoned child may still write
	kept []byte
}

// Write takes everything.
func (t *tail) Write(p []byte) (int, error) {
	const most = 1 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if len(t.kept) > most {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-most:]...)
	}
	return len(p), nil
}

// String is what is kept, on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(t.kept)), " ")
}
