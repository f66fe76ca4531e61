package engine

import "net/http"

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
	resp, err := rt.e.transport.RoundTrip(out)
	if err != nil {
		if req.Context().Err() == nil {
			rt.e.forget()
		}
		return nil, err
	}
	rt.e.observe(resp.Header)
	return resp, nil
}
