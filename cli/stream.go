package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/moby/term"
)

// stream joins the user's terminal or pipes to a process in a container.
type stream struct {
	conn       types.HijackedResponse
	stdin      bool // pass standard input on
	tty        bool
	detachKeys []byte // leave when these are typed
	resize     func(ctx context.Context, height, width uint) error
}

// detachKeys parses a key sequence such as "ctrl-p,ctrl-q", docker's default.
func detachKeys(text string) ([]byte, error) {
	keys, err := term.ToBytes(firstOf(text, "ctrl-p,ctrl-q"))
	if err != nil {
		return nil, exitError{125, fmt.Errorf("understand --detach-keys %q: %w", text, err)}
	}
	return keys, nil
}

// errDetached says that the user left and the process goes on.
var errDetached error = term.EscapeError{}

// join copies both ways until the process has closed its output, the user
// detaches (errDetached), or ctx ends. A read of standard input that is still
// waiting then cannot be called off and is left behind.
func (a *app) join(ctx context.Context, s stream) error {
	ctx, cancel := context.WithCancel(ctx)
	var resizing sync.WaitGroup
	defer resizing.Wait()
	defer cancel()
	defer s.conn.Close()
	if s.tty && s.stdin {
		restore, err := a.rawTerminal()
		if err != nil {
			return err
		}
		defer restore()
	}
	if s.tty {
		resizing.Go(func() { a.followSize(ctx, s.resize) })
	}
	output, input := make(chan error, 1), make(chan error, 1)
	go func() { output <- a.copyOutput(s) }()
	if s.stdin {
		go func() { input <- a.copyInput(s) }()
	}
	for {
		select {
		case err := <-output:
			return err
		case err := <-input:
			if errors.Is(err, errDetached) {
				return errDetached
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *app) copyOutput(s stream) error {
	var err error
	if s.tty {
		_, err = io.Copy(a.Stdout, s.conn.Reader)
	} else {
		_, err = stdcopy.StdCopy(a.Stdout, a.Stderr, s.conn.Reader)
	}
	if err != nil {
		return fmt.Errorf("read the container's output: %w", err)
	}
	return nil
}

// copyInput passes standard input on and then its end. An error in sending
// shows on the output's side as well and is told there.
func (a *app) copyInput(s stream) error {
	in := a.Stdin
	if s.tty {
		in = term.NewEscapeProxy(in, s.detachKeys)
	}
	if _, err := io.Copy(s.conn.Conn, in); err != nil {
		return err
	}
	return s.conn.CloseWrite()
}
