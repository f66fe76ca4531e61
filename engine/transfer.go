package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// LoadImage gives the engine an archive of images, as docker load does, and
// returns when they are there. What the engine complains of in its reply is an
// error, and so is one of archive's Read.
//
// There is no deadline for the whole. LoadImage ends when ctx does, when the
// engine leaves the archive unread for two minutes, or when it is silent for half
// an hour once it has the whole. How long a Read of archive takes is archive's to bound.
// After an error the engine may have some of the images, and one last Read may still
// be under way or about to begin.
func (e *Engine) LoadImage(ctx context.Context, archive io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	// The transport must not wait for archive, as it cannot be cancelled in a Read.
	in, out := io.Pipe()
	unblock := context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })
	defer unblock()
	feed := &feed{out: out, stall: newStall(stallTimeout, cancel), failed: make(chan error, 1), done: make(chan struct{})}
	defer feed.stall.end()
	go feed.run(archive)
	resp, err := c.ImageLoad(ctx, in) // not quietly: its progress shows that it lives
	if err == nil {
		defer resp.Body.Close()
		err = complaint(resp.Body, feed.stall.restart)
	}
	in.Close()
	if err == nil {
		select {
		case <-feed.done:
		case <-ctx.Done():
		}
	}
	select {
	case failed := <-feed.failed:
		err = fmt.Errorf("read archive: %w", failed)
	default:
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	return nil
}

// feed is an archive on its way to the engine. The time that the engine takes to
// ask for more is counted, and that of the archive's own Read is not.
type feed struct {
	out    *io.PipeWriter
	stall  *stall
	failed chan error    // takes the archive's error
	done   chan struct{} // closed when archive is read no more
}

// run ends with the archive, or at the next byte when nobody takes them any more.
func (f *feed) run(archive io.Reader) {
	defer close(f.done)
	buf := make([]byte, 64<<10)
	for {
		f.stall.pause()
		n, err := archive.Read(buf)
		if err == io.EOF {
			f.stall.resume(spoolTimeout)
		} else {
			f.stall.resume(stallTimeout)
		}
		if n > 0 {
			if _, err := f.out.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == io.EOF {
			f.out.Close()
			return
		}
		if err != nil {
			f.failed <- err
			f.out.CloseWithError(err)
			return
		}
	}
}

// complaint reads the engine's messages to their end and returns the error that
// one of them tells, if any. It calls each for every message.
func complaint(messages io.Reader, each func()) error {
	lines := bufio.NewScanner(messages)
	lines.Buffer(nil, maxReply)
	for lines.Scan() {
		each()
		var m struct {
			Stream      string `json:"stream"`
			Error       string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("decode the engine's message: %w", err)
		}
		if m.ErrorDetail.Message != "" {
			return errors.New(m.ErrorDetail.Message)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		// The containerd store leaves a tag that leads to nothing, and says no more.
		if strings.HasPrefix(m.Stream, "Error unpacking image ") {
			return errors.New(strings.TrimSpace(m.Stream))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the engine's messages: %w", err)
	}
	return nil
}

// SaveImage returns the image of that reference or ID as docker save writes it.
// It waits up to half an hour for the first byte, as some engines write the whole
// to a file before. A Read that gets no byte for two minutes fails. Close, which
// the caller owes, ends the transfer wherever it is. See IsNotFound.
func (e *Engine) SaveImage(ctx context.Context, ref string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	c, err := e.docker(ctx)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	stall := newStall(spoolTimeout, cancel)
	body, err := c.ImageSave(ctx, []string{ref})
	stall.pause()
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		stall.end()
		cancel(nil)
		return nil, fmt.Errorf("save image %s: %w", ref, err)
	}
	return &saved{body, ctx, cancel, stall}, nil
}

// saved is an archive on its way from the engine.
type saved struct {
	body   io.ReadCloser
	ctx    context.Context // ends with Close, or because the engine sends nothing
	cancel context.CancelCauseFunc
	stall  *stall
}

func (s *saved) Read(p []byte) (int, error) {
	s.stall.resume(stallTimeout)
	n, err := s.body.Read(p)
	s.stall.pause()
	if err != nil && err != io.EOF && context.Cause(s.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

func (s *saved) Close() error {
	s.stall.end()
	s.cancel(nil)
	return s.body.Close()
}
