package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// dialTimeout bounds the connection to one agent, TLS handshake included.
const dialTimeout = 5 * time.Second

// dialer connects to the first agent of several that is up. A command dials more than
// once, and what one attempt found holds for the next ones.
type dialer struct {
	hosts func() ([]endpoint, error)
	tls   func() (*tls.Config, error) // asked for tcp endpoints only

	mu    sync.Mutex        // guards what follows
	up    endpoint          // answered last; empty: none did
	down  *unreachableError // why none answered
	since time.Time         // of down
}

// dial has the shape of http.Transport's DialContext; it knows its addresses
// itself. The error is an *unreachableError.
func (d *dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	endpoints, err := d.hosts()
	if err != nil {
		return nil, err
	}
	up, down := d.remembered()
	if down != nil {
		return nil, down
	}
	if at := slices.Index(endpoints, up); at > 0 {
		endpoints = append([]endpoint{up}, slices.Delete(endpoints, at, at+1)...)
	}
	unreachable := &unreachableError{}
	for _, e := range endpoints {
		conn, err := d.dialOne(ctx, e)
		if err == nil {
			d.remember(e, nil)
			return conn, nil
		}
		unreachable.add(e, err)
	}
	if ctx.Err() == nil {
		d.remember(endpoint{}, unreachable)
	}
	return nil, unreachable
}

// remembered tells of the last attempt, of one that failed for as long as one lasts.
func (d *dialer) remembered() (endpoint, *unreachableError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.since) > dialTimeout {
		d.down = nil
	}
	return d.up, d.down
}

func (d *dialer) remember(up endpoint, down *unreachableError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.up, d.down, d.since = up, down, time.Now()
}

func (d *dialer) dialOne(ctx context.Context, e endpoint) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.patience())
	defer cancel()
	switch e.network {
	case "unix":
		return new(net.Dialer).DialContext(ctx, e.network, e.address)
	case "ssh":
		return dialSSH(ctx, e)
	}
	config, err := d.tls()
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, e.network, e.address)
}

// patience bounds the connection to e.
func (e endpoint) patience() time.Duration {
	if e.network == "ssh" {
		return sshTimeout
	}
	return dialTimeout
}

// unreachableError says why no agent could be spoken to. It never quotes the
// system's own dial errors: docker's client recognises those by their text
// and puts its advice about the Docker daemon in their place.
type unreachableError struct {
	reasons []string
	causes  []error
}

func (u *unreachableError) add(e endpoint, err error) {
	u.reasons = append(u.reasons, e.explain(err))
	u.causes = append(u.causes, err)
}

// Error says why each address could not be reached.
func (u *unreachableError) Error() string { return strings.Join(u.reasons, "; ") }

// Unwrap returns the causes.
func (u *unreachableError) Unwrap() []error { return u.causes }

// explain says in one sentence why e could not be reached, and what to do.
func (e endpoint) explain(err error) string {
	sentence := fmt.Sprintf("cannot reach the ddocker agent at %v: ", e)
	var certificate *certificateError
	var errno syscall.Errno
	switch {
	case errors.As(err, &certificate):
		return sentence + certificate.Error()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("no permission to use the ddocker agent at %v: join its group with "+
			`"sudo usermod -aG ddocker $USER" and log in again`, e)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return sentence + `is it running? Start it` + e.there() + ` with "sudo ddocker agent"`
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return sentence + fmt.Sprintf("no answer within %v", e.patience())
	case errors.As(err, &errno):
		return sentence + errno.Error()
	}
	return sentence + err.Error()
}

func (e endpoint) there() string {
	if e.network == "unix" {
		return ""
	}
	return " there"
}
