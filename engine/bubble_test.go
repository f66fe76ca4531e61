package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine"
	"ddocker/engine/enginetest"
)

// wire dials a pipe and notes the requests that pass.
type wire struct {
	mu    sync.Mutex // guards what follows
	pipe  *enginetest.Pipe
	lines []string
}

func (w *wire) dial(ctx context.Context) (net.Conn, error) {
	w.mu.Lock()
	pipe := w.pipe
	w.mu.Unlock()
	conn, err := pipe.Dial(ctx)
	return &notingConn{conn, w}, err
}

// asked returns the methods and paths since the last call, without versions.
func (w *wire) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

type notingConn struct {
	net.Conn
	w *wire
}

func (c *notingConn) Write(b []byte) (int, error) {
	if line, _, ok := bytes.Cut(b, []byte(" HTTP/1.1\r\n")); ok {
		c.w.mu.Lock()
		c.w.lines = append(c.w.lines, strings.Replace(string(line), "/v1.41", "", 1))
		c.w.mu.Unlock()
	}
	return c.Conn.Write(b)
}

// inBubble plays in virtual time with a twin and an Engine of it.
func inBubble(t *testing.T, play func(t *testing.T, twin *enginetest.Twin, w *wire, e *engine.Engine)) {
	synctest.Test(t, func(t *testing.T) {
		twin := enginetest.New(enginetest.Config{NCPU: 2})
		twin.AddImage(busybox)
		w := &wire{pipe: enginetest.Listen()}
		serve(t, twin, w.pipe)
		e, err := engine.New(engine.Config{Dial: w.dial})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		play(t, twin, w, e)
	})
}

func TestUnchangedContainersCostOneList(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *enginetest.Twin, w *wire, e *engine.Engine) {
		for i := range 100 {
			create(t, t.Context(), e, fmt.Sprintf("web%d", i), `{"Image":"busybox:latest"}`)
		}
		for _, want := range []int{101, 1} {
			w.asked()
			if all, err := e.Containers(t.Context()); err != nil || len(all) != 100 {
				t.Fatalf("%d containers, %v", len(all), err)
			}
			if got := w.asked(); len(got) != want {
				t.Errorf("%d requests, want %d", len(got), want)
			}
		}
		post(t, t.Context(), e, "/v1.41/containers/web7/start", "", nil)
		w.asked()
		if _, err := e.Containers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.asked(); len(got) != 2 {
			t.Errorf("after one start it asked %v", got)
		}
	})
}

func TestUpdateByAnOutsiderIsSeenAtOnceWhileWatchingAndInAMinuteOtherwise(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *enginetest.Twin, _ *wire, e *engine.Engine) {
		id := create(t, t.Context(), e, "web", `{"Image":"busybox:latest"}`)
		cores := func() []int {
			c, _ := find(t, t.Context(), e, id)
			return c.Cores
		}
		cores()
		post(t, t.Context(), e, "/v1.41/containers/web/update", `{"CpusetCpus":"1"}`, nil)
		time.Sleep(time.Minute)
		if got := cores(); !slices.Equal(got, []int{1}) {
			t.Errorf("a minute later it is on %v", got)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- e.Watch(ctx, func(engine.Event) {}) }()
		synctest.Wait()
		post(t, t.Context(), e, "/v1.41/containers/web/update", `{"CpusetCpus":"0"}`, nil)
		synctest.Wait()
		if got := cores(); !slices.Equal(got, []int{0}) {
			t.Errorf("watched, it is on %v", got)
		}
		stop()
		<-ended
	})
}

func TestEveryCallEndsWhenTheEngineHangs(t *testing.T) {
	for name, call := range map[string]func(context.Context, *engine.Engine) error{
		"Versions":   func(ctx context.Context, e *engine.Engine) error { _, _, err := e.Versions(ctx); return err },
		"GPUs":       func(ctx context.Context, e *engine.Engine) error { _, _, err := e.GPUs(ctx, "GPU-a"); return err },
		"Capacity":   func(ctx context.Context, e *engine.Engine) error { _, err := e.Capacity(ctx); return err },
		"Containers": func(ctx context.Context, e *engine.Engine) error { _, err := e.Containers(ctx); return err },
		"Create": func(ctx context.Context, e *engine.Engine) error {
			_, _, err := e.Create(ctx, "a", "", nil)
			return err
		},
		"Remove":   func(ctx context.Context, e *engine.Engine) error { return e.Remove(ctx, "a", true, true) },
		"SetCores": func(ctx context.Context, e *engine.Engine) error { return e.SetCores(ctx, "a", []int{1}) },
		"HasImage": func(ctx context.Context, e *engine.Engine) error { _, err := e.HasImage(ctx, "a"); return err },
		"Images":   func(ctx context.Context, e *engine.Engine) error { _, err := e.Images(ctx); return err },
		"Root":     func(ctx context.Context, e *engine.Engine) error { _, err := e.Root(ctx); return err },
		"ImageLayers": func(ctx context.Context, e *engine.Engine) error {
			_, _, _, err := e.ImageLayers(ctx, "a")
			return err
		},
		"TagImage": func(ctx context.Context, e *engine.Engine) error { return e.TagImage(ctx, "a", "b") },
		"RemoveImage": func(ctx context.Context, e *engine.Engine) error {
			_, err := e.RemoveImage(ctx, "a", false)
			return err
		},
		"LoadImage": func(ctx context.Context, e *engine.Engine) error { return e.LoadImage(ctx, strings.NewReader("a")) },
		"SaveImage": func(ctx context.Context, e *engine.Engine) error { _, err := e.SaveImage(ctx, "a"); return err },
		"Commit": func(ctx context.Context, e *engine.Engine) error {
			_, _, err := e.Commit(ctx, "", "container=a", nil)
			return err
		},
		"Watch": func(ctx context.Context, e *engine.Engine) error { return e.Watch(ctx, func(engine.Event) {}) },
	} {
		for _, known := range []bool{false, true} { // whether the versions are known before
			inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
				if known {
					if _, _, err := e.Versions(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if known && name == "Versions" {
					return // it asks nothing then
				}
				twin.Hang()
				defer twin.Unhang()
				began := time.Now()
				if err := call(t.Context(), e); err == nil {
					t.Errorf("%s: a hung engine answered", name)
				}
				if took := time.Since(began); took > 30*time.Minute {
					t.Errorf("%s: it took %v", name, took)
				}
			})
		}
	}
}

func TestVersionsAreAskedAgainOnlyOfAnotherEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		e, err := engine.New(engine.Config{Dial: w.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, cfg := range []enginetest.Config{
			{EngineVersion: "20.10.24", API: "1.41", MinAPI: "1.12"},
			{EngineVersion: "29.0.0", API: "1.52", MinAPI: "1.44"},
		} {
			pipe := enginetest.Listen()
			w.mu.Lock()
			w.pipe = pipe
			w.mu.Unlock()
			stop := serve(t, enginetest.New(cfg), pipe)
			for range 3 {
				oldest, newest, err := e.Versions(t.Context())
				if err != nil || oldest != cfg.MinAPI || newest != cfg.API {
					t.Errorf("versions are %s to %s, %v, want %s to %s", oldest, newest, err, cfg.MinAPI, cfg.API)
				}
				if _, err := e.Images(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if got := w.asked(); len(got) != 4 || got[0] != "GET /version" {
				t.Errorf("it asked %v, want one version and three lists", got)
			}
			stop()
			if _, err := e.Images(t.Context()); err == nil {
				t.Error("an engine that is away answered")
			}
			w.asked()
		}
	})
}

func TestReplyOfAnUpgradedEngineIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *enginetest.Twin, w *wire, e *engine.Engine) {
		if _, newest, err := e.Versions(t.Context()); err != nil || newest != "1.41" {
			t.Fatal(newest, err)
		}
		pipe := enginetest.Listen()
		w.mu.Lock()
		w.pipe = pipe
		w.mu.Unlock()
		defer serve(t, enginetest.New(enginetest.Config{EngineVersion: "29.0.0", API: "1.52", MinAPI: "1.44"}), pipe)()
		e.Close()                                            // as if the engine had come back with nobody asking meanwhile
		post(t, t.Context(), e, "/containers/json", "", nil) // a client's request, refused or not
		if oldest, newest, err := e.Versions(t.Context()); err != nil || oldest != "1.44" || newest != "1.52" {
			t.Errorf("versions are %s to %s, %v", oldest, newest, err)
		}
	})
}

func TestAbandonedCreateIsAnErrorAndLandsNevertheless(t *testing.T) {
	inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
		twin.SetLatency(enginetest.Create, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		status, _, err := e.Create(ctx, "web", "1.41", []byte(`{"Image":"busybox:latest"}`))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("create: %d, %v", status, err)
		}
		time.Sleep(time.Minute)
		if all, err := e.Containers(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("containers: %v, %v", all, err)
		}
	})
}

func TestCreateSendsExactlyItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := enginetest.Listen()
		var got bytes.Buffer
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(&got, r.Method, r.URL, r.Header.Get("Content-Type"))
			got.ReadFrom(r.Body)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "short and stout")
		})}
		go server.Serve(pipe)
		defer server.Close()
		e, err := engine.New(engine.Config{Dial: pipe.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		status, reply, err := e.Create(t.Context(), "a b", "1.44", []byte(` {"Image" : "x", "New":{ } }`))
		if status != http.StatusTeapot || string(reply) != "short and stout" || err != nil {
			t.Errorf("answered %d %s %v", status, reply, err)
		}
		if want := "POST /v1.44/containers/create?name=a+b application/json\n" + ` {"Image" : "x", "New":{ } }`; got.String() != want {
			t.Errorf("the engine got %s, want %s", got.String(), want)
		}
	})
}

func TestNewRefusesAnAddressItCannotDial(t *testing.T) {
	for _, host := range []string{"unix://", "tcp://nowhere", "ssh://a", "http://a:1", "/var/run/docker.sock", ":"} {
		if _, err := engine.New(engine.Config{Host: host}); err == nil {
			t.Errorf("%q was accepted", host)
		}
	}
}

// An engine that restarts as a request has got its kept connection never saw it.
func TestPostIsSentAgainWhenTheEngineHadClosedTheConnection(t *testing.T) {
	for what, post := range map[string]func(ctx context.Context, e *engine.Engine) (int, error){
		"with a body": func(ctx context.Context, e *engine.Engine) (int, error) {
			status, _, err := e.Create(ctx, "late", "", []byte(`{"Image":"busybox:latest"}`))
			return status, err
		},
		"without a body": func(ctx context.Context, e *engine.Engine) (int, error) {
			return raw(ctx, e, "/v1.41/containers/web/start", nil)
		},
		"with a stream": func(ctx context.Context, e *engine.Engine) (int, error) {
			return raw(ctx, e, "/v1.41/containers/create?name=late", io.MultiReader(strings.NewReader(`{"Image":"busybox:latest"}`)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
				create(t, t.Context(), e, "web", `{"Image":"busybox:latest"}`)
				var restarts int
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
					if c.Reused {
						restarts++
						twin.Restart()
						synctest.Wait() // until the connection's reader has seen its end
					}
				}})
				status, err := post(ctx, e)
				if restarts != 1 {
					t.Fatalf("%d restarts under the request", restarts)
				}
				if once := what == "with a stream"; once != (err != nil) || !once && status >= http.StatusMultipleChoices {
					t.Errorf("%d %v", status, err)
				}
			})
		})
	}
}

func raw(ctx context.Context, e *engine.Engine, path string, body io.Reader) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.RoundTripper().RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
