package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"text/tabwriter"
	"time"
)

const (
	smiDeadline = 10 * time.Second
	maxSMI      = 1 << 20 // bytes of its output; a table of 16 cards takes 8 KiB
)

// ErrNoGPU says that the host has no NVIDIA card.
var ErrNoGPU = errors.New("no NVIDIA GPU on this host")

// SMI writes what nvidia-smi prints on this host, or a table of the source's
// cards where there is no such program. It takes at most ten seconds for the
// program, and writes nothing when it fails. The error is [ErrNoGPU] when there
// is nothing to show.
func SMI(ctx context.Context, w io.Writer, source Source, args []string) error {
	program, err := exec.LookPath("nvidia-smi")
	if err == nil {
		return runSMI(ctx, w, program, args)
	}
	state := source.State()
	if !state.Known {
		return fmt.Errorf("read GPUs: %s", state.Reason)
	}
	if len(state.Cards) == 0 {
		return ErrNoGPU
	}
	return table(w, state.Cards)
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
		if err != nil {
			return fmt.Errorf("run nvidia-smi: %w: %s", err, bytes.TrimSpace(output.kept))
		}
		_, err = w.Write(output.kept)
		return err
	case <-ctx.Done(): // a hung driver may keep the program from dying
		return fmt.Errorf("run nvidia-smi: %w", ctx.Err())
	}
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

func table(w io.Writer, cards []Card) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "GPU\tNAME\tUUID\tTEMP\tPOWER\tMEMORY\tUTIL")
	for _, c := range cards {
		fmt.Fprintf(t, "%s\t%s\t%s\t%dC\t%dW\t%d / %d MiB\t%d%%\n",
			c.Index, c.Model, c.UUID, c.Temperature, c.Power/1000, c.Used>>20, c.Memory>>20, c.Utilization)
	}
	return t.Flush()
}
