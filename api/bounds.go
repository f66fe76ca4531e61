package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// bodyTimeout is how long a body may take that is read at once.
	bodyTimeout = 30 * time.Second
	// silentTimeout is how long a client may send nothing of a body that is passed on
	// as it comes: a person may be typing it.
	silentTimeout = 10 * time.Minute
)

// flows says whether the bodies of a row are passed on as they come, however long.
func (row *route) flows() bool {
	switch row.path {
	case "/build", "/session", "/grpc", "/images/load", "/images/create", "/containers/{}/archive":
		return true
	}
	return false
}

// boundBody returns the request with a body that is bounded in length and in time; the
// row is nil where there is none. The server's own request stays as it is: by its body
// it sees how much is left of it, for which there is no more time than for the rest.
func boundBody(w http.ResponseWriter, r *http.Request, row *route) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	b := &boundedBody{ReadCloser: r.Body, out: http.NewResponseController(w), flows: row != nil && row.flows()}
	limit := silentTimeout
	if !b.flows {
		limit, b.ReadCloser = bodyTimeout, http.MaxBytesReader(w, r.Body, maxBody)
	}
	if b.out.SetReadDeadline(time.Now().Add(limit)) != nil {
		return r // it came by no connection
	}
	bounded := r.WithContext(r.Context())
	bounded.Body = b
	return bounded
}

// boundedBody is a body with a deadline, which ends with it: after that the server
// listens whether the client is still there.
type boundedBody struct {
	io.ReadCloser
	out   *http.ResponseController
	flows bool
}

// Read reads the body.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the body took too long: %w", err)
	case err == io.EOF:
		b.out.SetReadDeadline(time.Time{})
	case err == nil && b.flows:
		b.out.SetReadDeadline(time.Now().Add(silentTimeout))
	}
	return n, err
}
