package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

const (
	smiDeadline = 10 * time.Second
	maxSMI      = 1 << 20 // bytes of its output; -q of 16 cards takes 200 KiB
)

// ErrNoGPU says that the host has no NVIDIA card.
var ErrNoGPU = errors.New("no NVIDIA GPU on this host")

// ErrRefused says that nvidia-smi is not run with such arguments.
var ErrRefused = errors.New("refused")

// SMI writes what nvidia-smi prints on this host for these arguments, or a table
// of the source's cards where there is no such program and no argument. Arguments
// that do more than read and end are [ErrRefused]. It takes at most ten seconds for
// the program, and writes nothing when it fails. The error is [ErrNoGPU] when there
// is nothing to show.
func SMI(ctx context.Context, w io.Writer, source Source, args []string) error {
	if err := reading(args); err != nil {
		return err
	}
	program, err := exec.LookPath("nvidia-smi")
	if err == nil {
		return runSMI(ctx, w, program, args)
	}
	state := source.State()
	if !state.Known {
		return fmt.Errorf("read GPUs: %s", state.Reason)
	}
	if len(state.Cards) == 0 && state.Reason == "" {
		return ErrNoGPU
	}
	if len(args) > 0 {
		return fmt.Errorf("%w: this host has no program nvidia-smi to take %q; without arguments a table of its cards is shown", ErrRefused, args)
	}
	return draw(w, &state)
}

func runSMI(ctx context.Context, w io.Writer, program string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, smiDeadline)
	defer cancel()
	output := &head{room: maxSMI}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = time.Second
	ended := make(chan error, 1)
	go func() { ended <- cmd.Run() }()
	select {
	case err := <-ended:
		if err != nil && ctx.Err() != nil {
			return unended(ctx)
		}
		if err != nil {
			return fmt.Errorf("run nvidia-smi: %w: %s", err, bytes.TrimSpace(output.kept))
		}
		_, err = w.Write(output.kept)
		return err
	case <-ctx.Done(): // a hung driver may keep the program from dying
		return unended(ctx)
	}
}

func unended(ctx context.Context) error {
	return fmt.Errorf("run nvidia-smi: it has not ended within %v: %w", smiDeadline, ctx.Err())
}

// head keeps the start of what is written to it and drops the rest.
type head struct {
	kept []byte
	room int
}

// Write takes everything.
func (h *head) Write(p []byte) (int, error) {
	fit := min(len(p), h.room)
	h.kept = append(h.kept, p[:fit]...)
	h.room -= fit
	return len(p), nil
}
