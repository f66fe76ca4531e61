package enginetest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine/enginetest"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// inBubble serves a twin in virtual time and gives play a client of it.
func inBubble(t *testing.T, cfg enginetest.Config, play func(*enginetest.Twin, lab)) {
	synctest.Test(t, func(t *testing.T) {
		twin := enginetest.New(cfg)
		twin.AddImage(busybox)
		pipe := enginetest.Listen()
		serve(t, twin, pipe)
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pipe.Dial(ctx) }}
		defer transport.CloseIdleConnections()
		c, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: transport}), client.WithVersion("1.41"))
		if err != nil {
			t.Fatal(err)
		}
		play(twin, lab{Client: c, t: t, ctx: t.Context()})
	})
}

// createBy creates a container by a caller that waits for patience.
func createBy(l lab, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(l.ctx, patience)
	defer cancel()
	_, err := l.ContainerCreate(ctx, &container.Config{Image: busybox}, nil, nil, nil, "late")
	return err
}

func (l lab) exists(name string) bool {
	l.t.Helper()
	list, err := l.ContainerList(l.ctx, container.ListOptions{All: true})
	l.must(err)
	for _, c := range list {
		if c.Names[0] == "/"+name {
			return true
		}
	}
	return false
}

func TestSlowCreateLandsAfterItsCallerHasGone(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		twin.SetLatency(enginetest.Create, 10*time.Second)
		if err := createBy(l, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("create: %v", err)
		}
		if l.exists("late") {
			t.Error("it exists too early")
		}
		time.Sleep(10 * time.Second)
		if !l.exists("late") {
			t.Error("it never came")
		}
	})
}

func TestHungCreateLandsWhenTheHangEnds(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		twin.Hang()
		if err := createBy(l, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("create: %v", err)
		}
		time.Sleep(time.Hour)
		twin.Unhang()
		synctest.Wait()
		if !l.exists("late") {
			t.Error("it never came")
		}
	})
}

func TestRestartDropsWhatIsUnderWayAndKeepsContainers(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		l.must(createBy(l, time.Second))
		l.must(l.ContainerStart(l.ctx, "late", container.StartOptions{}))
		l.must(l.ContainerRename(l.ctx, "late", "early"))
		twin.SetLatency(enginetest.Create, 10*time.Second)
		gone := make(chan error)
		go func() { gone <- createBy(l, time.Minute) }()
		time.Sleep(time.Second)
		twin.Restart()
		if err := <-gone; err == nil {
			t.Error("a create survived the restart")
		}
		time.Sleep(time.Minute)
		in, err := l.ContainerInspect(l.ctx, "early")
		l.must(err)
		if !in.State.Running || l.exists("late") {
			t.Errorf("after the restart: early runs %v, late exists %v", in.State.Running, l.exists("late"))
		}
	})
}

func TestLieDoesAndAnswers500Once(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		l.must(createBy(l, time.Second))
		twin.FailAfterSuccess(enginetest.Start)
		if err := l.ContainerStart(l.ctx, "late", container.StartOptions{}); err == nil {
			t.Error("no lie was told")
		}
		in, err := l.ContainerInspect(l.ctx, "late")
		l.must(err)
		if !in.State.Running {
			t.Error("the lie was the truth: it does not run")
		}
		l.must(l.ContainerStart(l.ctx, "late", container.StartOptions{}))
	})
}

func TestCoresAndGPUsHeldTwiceAreViolations(t *testing.T) {
	inBubble(t, enginetest.Config{GPUs: []string{"GPU-a", "GPU-b"}}, func(twin *enginetest.Twin, l lab) {
		for _, c := range []struct{ name, cpus, gpu string }{
			{"one", "0-1", "GPU-a"}, {"two", "1", "GPU-b"}, {"three", "2", "GPU-a"},
		} {
			host := container.HostConfig{Resources: container.Resources{
				CpusetCpus:     c.cpus,
				DeviceRequests: []container.DeviceRequest{{DeviceIDs: []string{c.gpu}, Capabilities: [][]string{{"gpu"}}}},
			}}
			_, err := l.ContainerCreate(l.ctx, &container.Config{Image: busybox}, &host, nil, nil, c.name)
			l.must(err)
			l.must(l.ContainerStart(l.ctx, c.name, container.StartOptions{}))
		}
		want := "core 1 is held by two and one; GPU GPU-a is held by three and one"
		if got := strings.Join(twin.Violations(), "; "); got != want {
			t.Errorf("violations are %q, want %q", got, want)
		}
	})
}

func TestLogsAndWaitEndWithTheEngine(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		l.must(createBy(l, time.Second))
		l.must(l.ContainerStart(l.ctx, "late", container.StartOptions{}))
		r, err := l.ContainerLogs(l.ctx, "late", container.LogsOptions{ShowStdout: true, Follow: true})
		l.must(err)
		defer r.Close()
		_, errs := l.ContainerWait(l.ctx, "late", "")
		twin.Restart()
		if err := <-errs; err == nil {
			t.Error("wait ended well")
		}
		if _, err := io.ReadAll(r); err == nil {
			t.Error("logs ended well")
		}
	})
}

func BenchmarkStartAndStop(b *testing.B) {
	twin := enginetest.New(enginetest.Config{})
	twin.AddImage(busybox)
	pipe := enginetest.Listen()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- twin.Serve(ctx, pipe) }()
	defer func() { cancel(); <-ended }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pipe.Dial(ctx) }}
	c, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: transport}), client.WithVersion("1.41"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		made, err := c.ContainerCreate(ctx, &container.Config{Image: busybox}, nil, nil, nil, "")
		if err == nil {
			err = c.ContainerStart(ctx, made.ID, container.StartOptions{})
		}
		if err == nil {
			err = c.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
