package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// record is a ResponseWriter that keeps the answer.
type record struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the answer's headers, to be changed.
func (w *record) Header() http.Header { return w.header }

// WriteHeader keeps the status.
func (w *record) WriteHeader(status int) { w.status = status }

// Write keeps the bytes.
func (w *record) Write(p []byte) (int, error) { return w.body.Write(p) }

func (w *record) response(r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(w.body.Len()),
	}
}

// pass passes an answer on, up to maxBody of it.
func pass(w http.ResponseWriter, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	w.Header()["Content-Type"] = resp.Header["Content-Type"]
	w.WriteHeader(resp.StatusCode)
	w.Write(body)
	return nil
}
