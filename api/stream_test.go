package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// opened is a stream of a container, as docker's client reads it to its end. It
// returns what an error or the stream itself says then.
type opened func() string

// streamsOf opens one of each kind.
func streamsOf(w *world, c *client.Client, name string) map[string]opened {
	w.Helper()
	ctx := w.Context()
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	attach := func(tty bool) (string, types.HijackedResponse) {
		made, err := c.ContainerExecCreate(ctx, name, container.ExecOptions{AttachStdin: true, AttachStdout: true, Tty: tty, Cmd: []string{"cat"}})
		must(err)
		conn, err := c.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{Tty: tty})
		must(err)
		return made.ID, conn
	}
	_, failed := c.ContainerWait(ctx, name, container.WaitConditionNotRunning)
	logs, err := c.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, Follow: true})
	must(err)
	_, exec := attach(false)
	session, tty := attach(true)
	return map[string]opened{
		"wait": func() string { return (<-failed).Error() },
		"logs": func() string {
			defer logs.Close()
			_, err := stdcopy.StdCopy(io.Discard, io.Discard, logs)
			return fmt.Sprint(err)
		},
		"exec": func() string {
			defer exec.Close()
			_, err := stdcopy.StdCopy(io.Discard, io.Discard, exec.Reader)
			return fmt.Sprint(err)
		},
		"exec on a terminal": func() string {
			defer tty.Close()
			text, err := io.ReadAll(tty.Reader)
			if err != nil {
				return err.Error()
			}
			if _, err = c.ContainerExecInspect(ctx, session); err == nil || !strings.Contains(err.Error(), "ddocker: ") {
				return fmt.Sprintf("%s, but its session tells no error but %v", text, err)
			}
			return string(text)
		},
	}
}

func TestStreamThatBreaksOffTellsItsReaderWhy(t *testing.T) {
	for how, want := range map[string]struct {
		breakOff func(w *world, way *snapping)
		says     string
	}{
		"the connection breaks": {
			func(_ *world, way *snapping) { way.snap() }, "ddocker: the connection to host n2 broke off;"},
		"the holder dies": {
			func(w *world, _ *snapping) { w.hosts[1].fail() }, "ddocker: host n2 stopped answering;"},
		"the holder's engine hangs": {
			func(w *world, way *snapping) { w.hosts[1].twin.Hang(); way.snap() }, "ddocker: the Docker Engine of host n2 stopped answering;"},
		"the agent that was asked stops": {
			func(w *world, _ *snapping) { w.hosts[0].api.streams.part() }, "ddocker: the agent of host n1, which passed on what came from host n2, is stopping;"},
	} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				h := w.hosts[0]
				var way snapping
				h.api.cfg.Peer = way.over(w.peer)
				h.start("web", "n2")
				all := streamsOf(w, h.cli(dockerCLI), "web")
				synctest.Wait()
				began := time.Now()
				want.breakOff(w, &way)
				for kind, end := range all {
					if got := end(); !strings.Contains(got, want.says+` the container may still run there: see "ddocker nodes"`) {
						t.Errorf("%s ends with %q", kind, got)
					}
				}
				if took := time.Since(began); took > deadEvery+2*patience {
					t.Errorf("it took %v", took)
				}
				synctest.Wait()
				if left := h.api.streams.from(); len(left) > 0 {
					t.Errorf("open are %v", left)
				}
			})
		})
	}
}

func TestStreamThatItsContainerEndsIsPassedOnAsItIs(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		for _, h := range w.hosts {
			c := h.cli(dockerCLI)
			h.start("web", "n2")
			made, err := c.ContainerExecCreate(w.Context(), "web", container.ExecOptions{AttachStdout: true, Cmd: []string{"echo", "hello"}})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := c.ContainerExecAttach(w.Context(), made.ID, container.ExecAttachOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := stdcopy.StdCopy(&out, &out, conn.Reader); err != nil || out.String() != "hello\n" {
				t.Errorf("exec says %q and ends with %v", &out, err)
			}
			conn.Close()
			if in, err := c.ContainerExecInspect(w.Context(), made.ID); err != nil || in.Running {
				t.Errorf("its session is %+v: %v", in, err)
			}
			logs, err := c.ContainerLogs(w.Context(), "web", container.LogsOptions{ShowStdout: true, Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			done, failed := c.ContainerWait(w.Context(), "web", container.WaitConditionNotRunning)
			h.want(http.StatusNoContent, "", post, "/containers/web/kill", "")
			select {
			case r := <-done:
				if r.StatusCode != 137 || r.Error != nil {
					t.Errorf("wait says %+v", r)
				}
			case err := <-failed:
				t.Errorf("wait fails with %v", err)
			}
			if text, err := io.ReadAll(logs); len(text) > 0 || err != nil {
				t.Errorf("logs say %q and end with %v", text, err)
			}
			logs.Close()
			h.want(http.StatusNoContent, "", del, "/containers/web", "")
		}
	})
}

func TestWordsAreSaidOnlyBetweenFrames(t *testing.T) {
	var stream bytes.Buffer
	out := stdcopy.NewStdWriter(&stream, stdcopy.Stdout)
	ends := map[int]bool{0: true}
	for _, text := range []string{"a", strings.Repeat("b", 300), "", "cc"} {
		fmt.Fprint(out, text)
		ends[stream.Len()] = true
	}
	for size := 1; size < 30; size++ { // of what passes at once
		var f frames
		for at := 0; at <= stream.Len(); at += size {
			if said := f.words("so") != nil; said != ends[at] {
				t.Fatalf("in pieces of %d, after %d bytes: words are said: %v", size, at, said)
			}
			f.pass(stream.Bytes()[at:min(at+size, stream.Len())])
		}
	}
}

func TestTerminalsBytesAreKnownByTheirFirst(t *testing.T) {
	version := func(v, kind string) frames {
		return newFrames(&http.Response{Header: http.Header{"Content-Type": {kind}}}, v)
	}
	const plain, framed = "\r\nso\r\n", "\x03\x00\x00\x00\x00\x00\x00\x02so"
	for _, one := range []struct {
		of          frames
		bytes, want string
	}{
		{frames{}, "$ ", plain},
		{frames{}, "\x01$", plain},
		{frames{}, "\x01\x00\x00\x00\x00\x00\x00\x00", framed},
		{frames{}, "\x01\x00", ""},
		{frames{}, "", framed},
		{version("1.42", "application/vnd.docker.raw-stream"), "", plain},
		{version("1.42", "application/vnd.docker.raw-stream"), "\x01\x00", plain},
		{version("1.42", "application/vnd.docker.multiplexed-stream"), "", framed},
		{version("1.41", "application/vnd.docker.raw-stream"), "", framed},
		{version("", "application/vnd.docker.raw-stream"), "", framed},
	} {
		f := one.of
		f.pass([]byte(one.bytes))
		if got := string(f.words("so")); got != one.want {
			t.Errorf("%+v, %q: %q, want %q", one.of, one.bytes, got, one.want)
		}
	}
}
