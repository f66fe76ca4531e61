package engine

import "net/http"

// closedIdle is how net/http says that the engine had closed a kept connection
// before the request went out on it.
const closedIdle = "http: server closed idle connection"

// RoundTripper returns the raw way to the engine, made for
// httputil.ReverseProxy: whatever the request's scheme and host say, it goes to
// the engine's socket, in HTTP/1.1, its bytes and the reply's unchanged. A 101
// reply's body is an io.ReadWriteCloser. It sets no deadline, for streams live
// as long as their clients: the request's context is the caller's to bound.
func (e *Engine) RoundTripper() http.RoundTripper { return roundTripper{e} }

type roundTripper struct{ e *Engine }

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	to := *req.URL
	to.Scheme, to.Host = "http", "docker"
	out := req.WithContext(req.Context()) // a shallow copy: the caller's request stays as it is
	out.URL, out.Host = &to, "docker"
	resp, err := rt.e.send(out)
	if err != nil {
		if req.Context().Err() == nil {
			rt.e.forget()
		}
		return nil, err
	}
	rt.e.observe(resp.Header)
	return resp, nil
}

// send sends a request of its own, and once more when no engine has seen it, for
// the kept connection was that of an engine that had gone. net/http does so by
// itself, but not for a POST.
func (e *Engine) send(req *http.Request) (*http.Response, error) {
	resp, err := e.transport.RoundTrip(req)
	if err == nil || err.Error() != closedIdle {
		return resp, err
	}
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, err
		}
		body, bad := req.GetBody()
		if bad != nil {
			return nil, err
		}
		req.Body = body
	}
	e.transport.CloseIdleConnections() // they were the same engine's
	return e.transport.RoundTrip(req)
}
