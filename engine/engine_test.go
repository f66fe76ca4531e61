package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/engine"
	"ddocker/engine/enginetest"
)

const busybox = "busybox:latest"

// onHosts runs a test against the address of the in-memory engine and, where
// DDOCKER_TEST_ENGINE tells one, of a real engine.
func onHosts(t *testing.T, test func(t *testing.T, ctx context.Context, host string)) {
	hosts := map[string]string{"twin": serveSocket(t), "real": os.Getenv("DDOCKER_TEST_ENGINE")}
	for is, host := range hosts {
		t.Run(is, func(t *testing.T) {
			if host == "" {
				if os.Getenv("CI") != "" {
					t.Fatal("DDOCKER_TEST_ENGINE is not set: no real engine was tested")
				}
				t.Log("WARNING: DDOCKER_TEST_ENGINE is not set: NO REAL ENGINE WAS TESTED")
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			test(t, ctx, host)
		})
	}
}

// onBoth is onHosts with the Engine made.
func onBoth(t *testing.T, test func(t *testing.T, ctx context.Context, e *engine.Engine)) {
	onHosts(t, func(t *testing.T, ctx context.Context, host string) {
		e, err := engine.New(engine.Config{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		test(t, ctx, e)
	})
}

func serveSocket(t *testing.T) (host string) {
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

// serve serves twin until stop is called or the test ends.
func serve(t *testing.T, twin *enginetest.Twin, l net.Listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- twin.Serve(ctx, l); close(ended) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("twin ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// create makes a container that is gone when the test has ended.
func create(t *testing.T, ctx context.Context, e *engine.Engine, name, body string) (id string) {
	t.Helper()
	status, reply, err := e.Create(ctx, name, "", []byte(body))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("create: %d %s %v", status, reply, err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal(reply, &made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Remove(context.WithoutCancel(ctx), made.ID, true, true); err != nil && !engine.IsNotFound(err) {
			t.Error(err)
		}
	})
	return made.ID
}

// post sends one request through the raw way.
func post(t *testing.T, ctx context.Context, e *engine.Engine, path, body string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://elsewhere:99"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.RoundTripper().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if req.URL.Host != "elsewhere:99" {
		t.Errorf("the caller's request was changed: %v", req.URL)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func find(t *testing.T, ctx context.Context, e *engine.Engine, id string) (engine.Container, bool) {
	t.Helper()
	all, err := e.Containers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c engine.Container) bool { return c.ID == id })
	if i < 0 {
		return engine.Container{}, false
	}
	return all[i], true
}

func unique() string { return fmt.Sprintf("ct-%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff) }

func TestContainerTellsItsNetworksAlsoWhenItDoesNotRun(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		name := unique()
		for _, network := range []string{name + "-a", name + "-b"} {
			if status, reply, err := e.CreateNetwork(ctx, []byte(`{"Name":"`+network+`"}`)); status != http.StatusCreated || err != nil {
				t.Fatal(status, string(reply), err)
			}
			t.Cleanup(func() {
				if err := e.RemoveNetwork(context.WithoutCancel(ctx), network); err != nil {
					t.Error(err)
				}
			})
		}
		id := create(t, ctx, e, name, `{"Image":"busybox:latest","Cmd":["sleep","1000"],"HostConfig":{"NetworkMode":"`+name+`-a"}}`)
		for _, running := range []bool{false, true} {
			if running {
				if resp := post(t, ctx, e, "/v1.41/containers/"+id+"/start", "", nil); resp.StatusCode != http.StatusNoContent {
					t.Fatalf("start: %s", resp.Status)
				}
			}
			if c, _ := find(t, ctx, e, id); !slices.Equal(c.Networks, []string{name + "-a"}) {
				t.Errorf("running %v: it is on %q", running, c.Networks)
			}
			if resp := post(t, ctx, e, "/v1.41/networks/"+name+"-b/connect", `{"Container":"`+id+`"}`, nil); resp.StatusCode != http.StatusOK {
				t.Fatalf("connect: %s", resp.Status)
			}
			if c, _ := find(t, ctx, e, id); !slices.Equal(c.Networks, []string{name + "-a", name + "-b"}) {
				t.Errorf("running %v and connected, it is on %q", running, c.Networks)
			}
			if resp := post(t, ctx, e, "/v1.41/networks/"+name+"-b/disconnect", `{"Container":"`+id+`"}`, nil); resp.StatusCode != http.StatusOK {
				t.Fatalf("disconnect: %s", resp.Status)
			}
		}
		if err := e.Remove(ctx, id, true, true); err != nil {
			t.Error(err)
		}
	})
}

func TestContainerTellsWhatItHolds(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		name := unique()
		id := create(t, ctx, e, name, `{"Image":"busybox:latest","Cmd":["sleep","1000"],"Labels":{"ddocker.placement":"p1"},
			"ExposedPorts":{"80/tcp":{}},"HostConfig":{"CpusetCpus":"0","NanoCpus":500000000,"Memory":16777216,
			"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"28472"}]}}}`)
		port := engine.Port{Host: 28472, Container: 80, Proto: "tcp", IP: "127.0.0.1"}
		for _, running := range []bool{false, true} {
			if running {
				if resp := post(t, ctx, e, "/v1.41/containers/"+id+"/start", "", nil); resp.StatusCode != http.StatusNoContent {
					t.Fatalf("start: %s", resp.Status)
				}
			}
			c, _ := find(t, ctx, e, id)
			if c.Name != name || c.Image != busybox || c.Placement != "p1" || c.Running != running || c.NanoCPUs != 5e8 || c.Memory != 16<<20 ||
				!slices.Equal(c.Cores, []int{0}) || !slices.Equal(c.Ports, []engine.Port{port}) || time.Since(c.Created) > time.Minute {
				t.Errorf("running %v: it tells %+v", running, c)
			}
		}
		if err := e.SetCores(ctx, name, []int{1}); err != nil {
			t.Fatal(err)
		}
		if c, _ := find(t, ctx, e, id); !slices.Equal(c.Cores, []int{1}) {
			t.Errorf("moved to core 1, it is on %v", c.Cores)
		}
		if err := e.Remove(ctx, id, false, false); err == nil || engine.IsNotFound(err) {
			t.Errorf("removing it while it runs: %v", err)
		}
		if err := e.Remove(ctx, id, true, true); err != nil {
			t.Error(err)
		}
		if c, ok := find(t, ctx, e, id); ok {
			t.Errorf("removed, it is there: %+v", c)
		}
		if err := e.Remove(ctx, id, true, true); !engine.IsNotFound(err) {
			t.Errorf("removing it twice: %v", err)
		}
	})
}

func TestCreatePassesRefusalsOn(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		status, reply, err := e.Create(ctx, unique(), "1.41", []byte(`{"Image":"ct-none"}`))
		if err != nil || status != http.StatusNotFound || !bytes.Contains(reply, []byte("No such image: ct-none:latest")) {
			t.Errorf("create: %d %s %v", status, reply, err)
		}
	})
}

func TestImagesAreKnownByReferenceAndID(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		images, err := e.Images(ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(images, func(im engine.Image) bool { return slices.Contains(im.Refs, busybox) })
		if i < 0 {
			t.Fatalf("%s is not among %v", busybox, images)
		}
		for ref, want := range map[string]bool{"busybox": true, images[i].ID: true, "ct-none:latest": false} {
			if got, err := e.HasImage(ctx, ref); err != nil || got != want {
				t.Errorf("has %s: %v, %v", ref, got, err)
			}
		}
	})
}

func TestCapacityAndVersions(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		c, err := e.Capacity(ctx)
		if err != nil || c.EngineID == "" || c.EngineVersion == "" || len(c.Cores) == 0 || c.Memory < 1<<20 {
			t.Errorf("capacity is %+v, %v", c, err)
		}
		oldest, newest, err := e.Versions(ctx)
		if err != nil || !strings.HasPrefix(oldest, "1.") || !strings.HasPrefix(newest, "1.") {
			t.Errorf("versions are %q to %q, %v", oldest, newest, err)
		}
	})
}

func TestRawWayCarriesAnUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		id := create(t, ctx, e, unique(), `{"Image":"busybox:latest","Cmd":["sleep","1000"]}`)
		post(t, ctx, e, "/v1.41/containers/"+id+"/start", "", nil)
		made := post(t, ctx, e, "/v1.41/containers/"+id+"/exec", `{"AttachStdin":true,"AttachStdout":true,"Tty":true,"Cmd":["cat"]}`, nil)
		var exec struct{ ID string }
		if err := json.NewDecoder(made.Body).Decode(&exec); err != nil {
			t.Fatal(err)
		}
		resp := post(t, ctx, e, "/v1.41/exec/"+exec.ID+"/start", `{"Tty":true}`, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"tcp"}})
		stream, ok := resp.Body.(io.ReadWriteCloser)
		if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
			t.Fatalf("answered %s with a %T", resp.Status, resp.Body)
		}
		if _, err := io.WriteString(stream, "to and fro\n"); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len("to and fro"))
		if _, err := io.ReadFull(stream, back); err != nil || string(back) != "to and fro" {
			t.Errorf("got %q back, %v", back, err)
		}
	})
}

func TestWatchTellsAllFromItsFirstDialOn(t *testing.T) {
	onHosts(t, func(t *testing.T, ctx context.Context, host string) {
		dialed := make(chan struct{}, 100)
		e, err := engine.New(engine.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			dialed <- struct{}{}
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(host, "unix://"))
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		watching, stop := context.WithCancel(ctx)
		defer stop()
		name := unique()
		told, ended := make(chan string, 100), make(chan error)
		go func() {
			ended <- e.Watch(watching, func(ev engine.Event) {
				if ev.Kind == "container" && ev.Name == name {
					told <- ev.Action
				}
			})
		}()
		<-dialed
		id := create(t, ctx, e, name, `{"Image":"busybox:latest"}`)
		if err := e.Remove(ctx, id, true, true); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"create", "destroy"} {
			select {
			case got := <-told:
				if got != want {
					t.Errorf("watch told %s, want %s", got, want)
				}
			case <-ctx.Done():
				t.Fatalf("watch did not tell %s", want)
			}
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("watch ended with %v", err)
		}
	})
}
