package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/docker/cli/cli/command"
)

// interruption is why a command's context ended: a signal asked for it.
type interruption struct{ signal syscall.Signal }

// Error names the signal.
func (i interruption) Error() string { return i.signal.String() }

// untilSignal returns a context that SIGINT or SIGTERM ends. The next one then does
// what signals do to programs that do not listen.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals)
		select {
		case <-ctx.Done():
		case s := <-signals:
			cancel(interruption{s.(syscall.Signal)})
		}
	}()
	return ctx, func() { cancel(nil) }
}

// interrupted is the exit code of a program that a signal ended, 0 if none did.
func interrupted(ctx context.Context) int {
	var by interruption
	if errors.As(context.Cause(ctx), &by) {
		return 128 + int(by.signal)
	}
	return 0
}

// giveUp ends the program at the third signal, as docker's main does: an attached
// run passes them on to its container, which may not heed them.
func giveUp(ctx context.Context, streams command.Streams) {
	<-ctx.Done()
	if interrupted(ctx) == 0 {
		return
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	<-signals
	streams.In().RestoreTerminal()
	streams.Out().RestoreTerminal()
	fmt.Fprintln(streams.Err(), "\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
	os.Exit(1)
}
