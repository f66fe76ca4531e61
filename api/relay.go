package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/docker/docker/pkg/jsonmessage"
)

// typeTar is what an engine takes for no form.
const typeTar = "application/x-tar"

// withoutForm returns the call with no body but a tar of files to import. To an
// engine, a form in the body says more than the query: it could name other images.
func (c *call) withoutForm() *call {
	out := *c
	out.Request = c.Request.Clone(c.Context())
	out.Header.Set("Content-Type", typeTar)
	if c.URL.Query().Get("fromSrc") != "-" {
		out.Header.Del("Content-Type")
		out.Body, out.ContentLength, out.TransferEncoding = http.NoBody, 0, nil
	}
	return &out
}

// relay sends the request to this engine with another query and, as a tar, another
// body, and passes its messages on, but for those that hold keeps back. The error
// is the engine's first.
func (a *API) relay(c *call, query url.Values, body io.Reader, out *messages, hold func(jsonmessage.JSONMessage) bool) error {
	u := url.URL{Scheme: "http", Host: "ddocker", Path: c.row.path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(c.Context(), c.Method, u.String(), body)
	if err != nil {
		return err
	}
	for key, values := range c.Header {
		if key == "X-Registry-Auth" || strings.HasPrefix(key, "X-Meta-") {
			req.Header[key] = values
		}
	}
	if body != http.NoBody {
		req.Header.Set("Content-Type", typeTar)
	}
	resp, err := a.local.open(req, c.version)
	if err != nil {
		return fmt.Errorf("the Docker Engine of %s does not answer: %w", a.cfg.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return refusalOf(resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var m jsonmessage.JSONMessage
		if json.Unmarshal(lines.Bytes(), &m) == nil && m.Error != nil {
			return m.Error
		}
		if hold == nil || !hold(m) {
			out.Write(append(lines.Bytes(), "\r\n"...))
		}
	}
	return lines.Err()
}

// refusalOf reads an engine's refusal.
func refusalOf(resp *http.Response) error {
	var m struct{ Message string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err != nil || json.Unmarshal(body, &m) != nil || m.Message == "" {
		m.Message = resp.Status
	}
	return &statusError{resp.StatusCode, m.Message}
}

// withQuery returns the call with another query.
func (c *call) withQuery(query url.Values) *call {
	out := *c
	out.Request = c.Request.Clone(c.Context())
	out.URL = &url.URL{RawQuery: query.Encode()}
	return &out
}
