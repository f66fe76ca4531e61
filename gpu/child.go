package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

const (
	// interval is the pause between two readings. A reading is some seventy calls into
	// the kernel for eight cards; a pause of two seconds keeps them, with what it costs to
	// carry them to the agent, below a hundredth of a core.
	interval = 2 * time.Second
	// slow is how long a reading may take before the reader is told what it waits for, and
	// again each time: the cards are unknown then. A call that is waited for so many
	// times in a row hangs. A driver that no other program keeps awake needs seconds for
	// each card that is opened first; so a whole reading has no limit of its own.
	slow = 4 * time.Second
	hung = 3
)

// report is one line of the child.
type report struct {
	Cards []Card `json:"cards"`
	// Driver and CUDA are versions.
	Driver string `json:"driver,omitempty"`
	CUDA   string `json:"cuda,omitempty"`
	// Error is what could not be read: with Cards, those that are left out.
	Error string `json:"error,omitempty"`
	// Busy is the call that a reading waits for; nothing else is told then.
	Busy string `json:"busy,omitempty"`
	// Absent says that the host has no NVML, so that there is nothing to read.
	Absent bool `json:"absent,omitempty"`
}

// Child is the whole work of the child process: it writes one line of JSON every
// two seconds until ctx ends, or w refuses it, as a pipe does whose reader is gone.
// Without an NVML library it writes that one fact and returns nil. Where a call into
// the driver hangs it names the call and returns, and the call stays behind. It may
// end the process: see the package comment.
func Child(ctx context.Context, w io.Writer) error {
	return watch(ctx, newDriver(nvml.New(), "/proc", "/sys"), w)
}

func watch(ctx context.Context, d *driver, w io.Writer) error {
	out := json.NewEncoder(w)
	switch ret, err := await(ctx, d, out, d.start); {
	case err != nil:
		return err
	case ret == nvml.ERROR_LIBRARY_NOT_FOUND:
		// Any further call would end the process.
		return out.Encode(report{Cards: []Card{}, Absent: true})
	case ret != nvml.SUCCESS:
		return giveUp(out, fmt.Errorf("start NVML: %w", ret))
	}
	for {
		var fault error
		r, err := await(ctx, d, out, func() (r report) { r, fault = d.read(); return r })
		if err != nil {
			return err
		}
		if fault != nil {
			return giveUp(out, fault) // a fresh process finds a driver that was reloaded
		}
		if err := out.Encode(r); err != nil {
			return fmt.Errorf("write cards: %w", err)
		}
		if sleep(ctx, interval); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// await has the driver do something, and tells the reader what it waits for. It
// gives up on a call that hangs.
func await[T any](ctx context.Context, d *driver, out *json.Encoder, do func() T) (result T, err error) {
	done := make(chan T, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(slow)
	defer tick.Stop()
	var last *call
	for times := 1; ; times++ {
		select {
		case result = <-done:
			return result, nil
		case <-ctx.Done():
			return result, context.Cause(ctx)
		case <-tick.C:
		}
		now := d.current.Load()
		if now != last {
			last, times = now, 1
		}
		if times == hung {
			return result, giveUp(out, fmt.Errorf("%s hangs", now))
		}
		if err := out.Encode(report{Busy: now.String()}); err != nil {
			return result, fmt.Errorf("write cards: %w", err)
		}
	}
}

// giveUp tells the reader why, and returns the error.
func giveUp(out *json.Encoder, err error) error {
	return errors.Join(err, out.Encode(report{Error: err.Error()}))
}
