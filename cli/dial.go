package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// dialTimeout bounds the connection to one agent, TLS handshake included.
const dialTimeout = 5 * time.Second

// dialer connects to the first agent of several that is up.
type dialer struct {
	hosts func() ([]endpoint, error)
	tls   func() (*tls.Config, error) // asked for tcp endpoints only
}

// dial has the shape of http.Transport's DialContext; it knows its addresses
// itself. The error is an *unreachableError.
func (d *dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	endpoints, err := d.hosts()
	if err != nil {
		return nil, err
	}
	unreachable := &unreachableError{}
	for _, e := range endpoints {
		conn, err := d.dialOne(ctx, e)
		if err == nil {
			return conn, nil
		}
		unreachable.add(e, err)
	}
	return nil, unreachable
}

func (d *dialer) dialOne(ctx context.Context, e endpoint) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
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
		return sentence + fmt.Sprintf("no answer within %v", dialTimeout)
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
