package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/engine/enginetest"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

const busybox = "busybox:latest"

// lab is an engine, in memory or real, for one behaviour.
type lab struct {
	*client.Client
	t    *testing.T
	ctx  context.Context
	host string // unix:///…
}

// TestTwinAndRealEngineBehaveAlike holds the in-memory engine and the one at
// DDOCKER_TEST_ENGINE to the same table.
func TestTwinAndRealEngineBehaveAlike(t *testing.T) {
	t.Run("twin", func(t *testing.T) { contract(t, serveTwin(t)) })
	t.Run("real", func(t *testing.T) {
		host := os.Getenv("DDOCKER_TEST_ENGINE")
		switch {
		case host != "":
			contract(t, host)
		case os.Getenv("CI") != "":
			t.Fatal("DDOCKER_TEST_ENGINE is not set: the twin was compared with nothing")
		default:
			t.Log("WARNING: DDOCKER_TEST_ENGINE is not set: THE TWIN WAS COMPARED WITH NOTHING")
		}
	})
}

func serveTwin(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	twin := enginetest.New(enginetest.Config{NCPU: 2})
	twin.AddImage(busybox)
	serve(t, twin, l)
	return "unix://" + path
}

// serve serves twin until the test ends, which waits for it.
func serve(t *testing.T, twin *enginetest.Twin, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- twin.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("twin ended with %v", err)
		}
	})
}

func contract(t *testing.T, host string) {
	for _, b := range slices.Concat(behaviours(), eventBehaviours(), imageBehaviours(), objectBehaviours(), gpuBehaviours()) {
		t.Run(b.is, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			c, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			b.check(lab{c, t, ctx, host})
		})
	}
}

// name is a name that no other test has.
func (l lab) name(suffix string) string {
	return fmt.Sprintf("ct-%d-%x-%s", os.Getpid(), time.Now().UnixNano()&0xffffff, suffix)
}

// create makes a container that is gone when the test has ended.
func (l lab) create(name string, config container.Config, host container.HostConfig) string {
	l.t.Helper()
	made, err := l.tryCreate(name, config, host)
	if err != nil {
		l.t.Fatalf("create: %v", err)
	}
	return made
}

func (l lab) tryCreate(name string, config container.Config, host container.HostConfig) (string, error) {
	if config.Image == "" {
		config.Image = busybox
	}
	if config.Cmd == nil {
		config.Cmd = []string{"sleep", "1000"}
	}
	made, err := l.ContainerCreate(l.ctx, &config, &host, nil, nil, name)
	if err == nil {
		l.after(func(c lab) {
			c.ContainerRemove(c.ctx, made.ID, container.RemoveOptions{Force: true}) // most are gone by now
		})
	}
	return made.ID, err
}

// after calls do when the test has ended.
func (l lab) after(do func(lab)) {
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		c, err := client.NewClientWithOpts(client.WithHost(l.host), client.WithAPIVersionNegotiation())
		if err != nil {
			l.t.Error(err)
			return
		}
		defer c.Close()
		do(lab{c, l.t, ctx, l.host})
	})
}

// run makes a container and starts it.
func (l lab) run(name string, config container.Config, host container.HostConfig) string {
	l.t.Helper()
	id := l.create(name, config, host)
	l.must(l.ContainerStart(l.ctx, id, container.StartOptions{}))
	return id
}

func (l lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// transport is a way to the engine past the docker client, for one request.
func (l lab) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return l.Dialer()(ctx)
	}}
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// raw sends one request past the docker client.
func (l lab) raw(method, path, body string) (status int, reply string) {
	l.t.Helper()
	hc := &http.Client{Transport: l.transport()}
	req, err := http.NewRequestWithContext(l.ctx, method, "http://docker"+path, strings.NewReader(body))
	l.must(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := hc.Do(req)
	l.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	l.must(err)
	return resp.StatusCode, string(b)
}

// answers checks the outcome of raw; reply is a pattern.
func (l lab) answers(method, path, body string, status int, reply string) {
	l.t.Helper()
	got, text := l.raw(method, path, body)
	if got != status || !matches(reply, text) {
		l.t.Errorf("%s %s: %d %s, want %d %s", method, path, got, text, status, reply)
	}
}

// refuses checks that err is of a class and says a sentence, as a pattern.
func (l lab) refuses(err error, class func(error) bool, sentence string) {
	l.t.Helper()
	switch {
	case err == nil:
		l.t.Errorf("no refusal, want %q", sentence)
	case !class(err):
		l.t.Errorf("refusal of the wrong class %T: %v", errors.Unwrap(err), err)
	case !matches(`(?i)`+sentence, err.Error()):
		l.t.Errorf("refusal %q, want %q", err, sentence)
	}
}
