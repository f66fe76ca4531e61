package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/docker/docker/api"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// dialect is how to talk to the engine that answered last.
type dialect struct {
	min, max string // API versions the engine speaks
	client   *client.Client
}

// tag is how a reply names its engine, in headers that every reply carries. Two
// tags differ when the engine was replaced by another version of it.
type tag struct{ api, server string }

// Ping says whether the engine answers. It ends within two seconds.
func (e *Engine) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err == nil {
		_, err = c.Ping(ctx)
	}
	if err != nil {
		return fmt.Errorf("ping engine: %w", err)
	}
	return nil
}

// Versions returns the oldest and newest API version that the engine speaks,
// such as "1.12" and "1.41". The answer is remembered until a call fails on the
// wire or a reply shows another engine. The error is that of asking.
func (e *Engine) Versions(ctx context.Context) (oldest, newest string, err error) {
	d, err := e.speak(ctx)
	if err != nil {
		return "", "", err
	}
	return d.min, d.max, nil
}

// speak returns the dialect to use. The docker client's own negotiation is not
// used: it holds a mutex while it waits, and ignores that the engine is away.
func (e *Engine) speak(ctx context.Context) (*dialect, error) {
	e.mu.Lock()
	known := e.dialect
	e.mu.Unlock()
	if known != nil {
		return known, nil
	}
	v, err := e.askVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask engine version: %w", err)
	}
	d := &dialect{min: v.MinAPIVersion, max: v.APIVersion}
	version := d.max
	if versions.GreaterThan(version, api.DefaultVersion) {
		version = api.DefaultVersion
	}
	// Neither WithHost nor WithDialContext: both would replace our transport.
	d.client, err = client.NewClientWithOpts(client.WithVersion(version),
		client.WithHTTPClient(&http.Client{Transport: e.RoundTripper(), CheckRedirect: client.CheckRedirect}))
	if err != nil {
		return nil, fmt.Errorf("make docker client: %w", err)
	}
	e.mu.Lock()
	e.dialect = d
	e.mu.Unlock()
	return d, nil
}

func (e *Engine) askVersion(ctx context.Context) (v types.Version, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/version", nil)
	if err != nil {
		return v, err
	}
	resp, err := e.RoundTripper().RoundTrip(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("engine answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&v); err != nil {
		return v, fmt.Errorf("decode version: %w", err)
	}
	if v.APIVersion == "" {
		return v, errors.New("engine told no API version")
	}
	return v, nil
}

// observe compares a reply's engine with the one before it.
func (e *Engine) observe(h http.Header) {
	seen := tag{h.Get("Api-Version"), h.Get("Server")}
	if seen.api == "" {
		return // some error replies carry no version
	}
	e.mu.Lock()
	before := e.tag
	e.tag = seen
	if before != (tag{}) && before != seen {
		e.dialect = nil
	}
	e.mu.Unlock()
	if before != (tag{}) && before != seen {
		e.log.Info("engine changed its version", "from", before.server, "to", seen.server, "api", seen.api)
	}
}

// forget makes the next call ask for the versions again.
func (e *Engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dialect = nil
}

// docker returns the client that speaks the engine's dialect.
func (e *Engine) docker(ctx context.Context) (*client.Client, error) {
	d, err := e.speak(ctx)
	if err != nil {
		return nil, err
	}
	return d.client, nil
}
