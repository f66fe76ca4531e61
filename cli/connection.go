package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

const (
	// readTimeout bounds a question to the cluster.
	readTimeout = 30 * time.Second
	// changeTimeout bounds a change, which may have to wait for a container to
	// stop or for an image to be written.
	changeTimeout = 10 * time.Minute
	// answerLimit bounds the bytes of one answer that is kept in memory.
	answerLimit = 64 << 20
	// agentName stands for the agent in URLs; the dialer knows the address.
	agentName = "ddocker"
)

// connection is one command's way to the agents, dialled on first use.
type connection struct {
	docker *client.Client // for Docker's own routes
	http   *http.Client   // for ddocker's, and where Docker's types lack fields
	name   string         // of this program, as User-Agent
}

func (a *app) connect() (*connection, error) {
	if _, err := a.hosts(); err != nil {
		return nil, err
	}
	transport := a.transport()
	name := userAgent(a.Version)
	docker, err := client.NewClientWithOpts(
		client.WithHost("tcp://"+agentName),
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithUserAgent(name),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	return &connection{docker: docker, http: &http.Client{Transport: transport}, name: name}, nil
}

// transport dials the agents, which it looks up when it is first used: flags are read
// by then.
func (a *app) transport() *http.Transport {
	d := &dialer{hosts: a.hosts, tls: a.clientTLS}
	return &http.Transport{DialContext: d.dial, DisableCompression: true, IdleConnTimeout: readTimeout}
}

// userAgent tells the cluster that a command line asks, one that pulls images
// itself: a name, and what always begins with a digit.
func userAgent(version string) string {
	version = strings.TrimPrefix(version, "v")
	if version == "" || version[0] < '0' || version[0] > '9' {
		version = strings.TrimSuffix("0+"+version, "+") // built between versions
	}
	return "ddocker/" + version
}

// apiError is a refusal of a route, in the cluster's own words.
type apiError struct {
	status  int
	message string
}

// Error returns the agent's own sentence.
func (e *apiError) Error() string { return e.message }

// Unwrap makes errdefs.IsNotFound recognise a missing object.
func (e *apiError) Unwrap() error {
	if e.status == http.StatusNotFound {
		return errdefs.ErrNotFound
	}
	return nil
}

// send asks one route and returns its answer, whose body the caller closes.
func (c *connection) send(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: agentName, Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the cluster: %w", err)
	}
	request.Header.Set("User-Agent", c.name)
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for %s: %w", path, err)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, readRefusal(answer)
}

func readRefusal(answer *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the cluster's refusal: %w", err)
	}
	var refusal struct{ Message string }
	if json.Unmarshal(text, &refusal) != nil || refusal.Message == "" {
		refusal.Message = firstOf(strings.TrimSpace(string(text)), answer.Status)
	}
	return &apiError{answer.StatusCode, strings.TrimSpace(refusal.Message)}
}

// read returns the whole answer of one route.
func (c *connection) read(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	_, text, err := c.ask(ctx, method, path, query, body)
	return text, err
}

// ask returns the headers and the whole answer of one route.
func (c *connection) ask(ctx context.Context, method, path string, query url.Values, body []byte) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	answer, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return answer.Header, text, nil
}

// get decodes the answer of one route into value.
func (c *connection) get(ctx context.Context, path string, query url.Values, value any) error {
	return c.decode(ctx, http.MethodGet, path, query, value)
}

// decode asks one route and decodes its answer into value.
func (c *connection) decode(ctx context.Context, method, path string, query url.Values, value any) error {
	text, err := c.read(ctx, method, path, query, nil)
	if err != nil {
		return err
	}
	return understand(path, text, value)
}

func understand(path string, text []byte, value any) error {
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("understand the answer of %s: %w", path, err)
	}
	return nil
}
