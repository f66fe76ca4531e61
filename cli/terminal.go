package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/moby/term"
)

// isTerminal reports whether stream, one of Env's, is a terminal.
func isTerminal(stream any) bool {
	_, terminal := term.GetFdInfo(stream)
	return terminal
}

// rawTerminal passes every key on to the container. The returned function,
// safe to call twice, gives the user's terminal back as it was. Without a
// terminal both do nothing.
func (a *app) rawTerminal() (restore func(), err error) {
	in, terminal := term.GetFdInfo(a.Stdin)
	if !terminal {
		return func() {}, nil
	}
	before, err := term.SetRawTerminal(in)
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	return sync.OnceFunc(func() { term.RestoreTerminal(in, before) }), nil
}

// consoleSize is the height and width of the user's terminal in characters,
// nil when output goes elsewhere.
func (a *app) consoleSize() *[2]uint {
	out, terminal := term.GetFdInfo(a.Stdout)
	if !terminal {
		return nil
	}
	size, err := term.GetWinsize(out)
	if err != nil || size.Height == 0 || size.Width == 0 {
		return nil
	}
	return &[2]uint{uint(size.Height), uint(size.Width)}
}

// redraw shows a frame of something that changes: on a terminal in the place of the last
// one, without a flicker; else below it.
func (a *app) redraw(frame []byte) {
	if !isTerminal(a.Stdout) {
		a.Stdout.Write(frame)
		return
	}
	var screen bytes.Buffer
	screen.WriteString("\033[H") // to the corner
	for line := range bytes.Lines(frame) {
		screen.Write(bytes.TrimSuffix(line, []byte{'\n'}))
		screen.WriteString("\033[K\n") // the rest of the line is the last frame's
	}
	screen.WriteString("\033[J")
	a.Stdout.Write(screen.Bytes())
}

// followSize tells resize the terminal's size now and whenever it changes,
// until ctx ends. The first calls may come before the process in the
// container exists, so a failure is tried again a few times.
func (a *app) followSize(ctx context.Context, resize func(ctx context.Context, height, width uint) error) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)

	retry := time.NewTimer(0)
	defer retry.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			failures = 0
		case <-retry.C:
		}
		size := a.consoleSize()
		if size == nil || resize(ctx, size[0], size[1]) == nil {
			continue
		}
		if failures++; failures <= 10 {
			retry.Reset(time.Duration(failures) * 10 * time.Millisecond)
		}
	}
}
