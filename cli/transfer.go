package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/moby/term"
)

// errStalled ends a transfer that no longer moves.
var errStalled = fmt.Errorf(`nothing has moved for %v: look at the hosts with "ddocker nodes" and try again`, changeTimeout)

// transfer runs do, which moves images: it takes as long as there are bytes, but
// its context ends when nothing was read for changeTimeout through the readers
// that watch returns.
func transfer(ctx context.Context, do func(ctx context.Context, watch func(io.Reader) io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(changeTimeout, func() { cancel(errStalled) })
	defer patience.Stop()
	err := do(ctx, func(r io.Reader) io.Reader { return watched{r, patience} })
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watched renews patience with every byte. It hides that r can be closed, so that
// nobody but its owner does.
type watched struct {
	io.Reader
	patience *time.Timer
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.patience.Reset(changeTimeout)
	}
	return n, err
}

// showProgress draws docker's messages on out: bars on a terminal, else the lines
// that are no bars. An error among them is the call's.
func showProgress(messages io.Reader, out io.Writer) error {
	fd, terminal := term.GetFdInfo(out)
	err := jsonmessage.DisplayJSONMessagesStream(messages, out, fd, terminal, nil)
	var told *jsonmessage.JSONError
	if err == nil || errors.As(err, &told) {
		return err
	}
	return fmt.Errorf(`the ddocker agent broke the transfer off (%w): see what came of it with "ddocker images"`, err)
}
