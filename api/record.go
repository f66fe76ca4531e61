package api

import (
	"bytes"
	"io"
	"net/http"
)

// record is a ResponseWriter that keeps the answer.
type record struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *record) Header() http.Header         { return w.header }
func (w *record) WriteHeader(status int)      { w.status = status }
func (w *record) Write(p []byte) (int, error) { return w.body.Write(p) }

func (w *record) response(r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(w.body.Len()),
	}
}
