package enginetest_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddocker/engine"
	"ddocker/engine/enginetest"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

func gpuBehaviours() []behaviour {
	return []behaviour{
		{"an unknown runtime is refused", unknownRuntime},
		{"a program that is not in the image is missed at start", programless},
	}
}

func unknownRuntime(l lab) {
	_, err := l.tryCreate(l.name("a"), container.Config{}, container.HostConfig{Runtime: "nvidia"})
	l.refuses(err, errdefs.IsInvalidArgument, `unknown .*runtime.* nvidia`)
}

func programless(l lab) {
	began := time.Now()
	body, err := l.ImageImport(l.ctx, image.ImportSource{Source: strings.NewReader(string(make([]byte, 1024))), SourceName: "-"}, "",
		image.ImportOptions{Changes: []string{"LABEL ct.empty=1"}})
	l.must(err)
	defer body.Close()
	said, err := bufio.NewReader(body).ReadString('\n')
	l.must(err)
	id := said[strings.Index(said, "sha256:"):strings.LastIndex(said, `"`)]
	l.after(func(c lab) { c.ImageRemove(c.ctx, id, image.RemoveOptions{Force: true}) })
	list, err := l.ImageList(l.ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "ct.empty"))})
	l.must(err)
	if len(list) != 1 || list[0].ID != id {
		l.t.Errorf("by its label are found %+v, want %s", list, id)
	}
	box := l.create(l.name("a"), container.Config{Image: id, Cmd: []string{"/none"}}, container.HostConfig{})
	err = l.ContainerStart(l.ctx, box, container.StartOptions{})
	l.refuses(err, errdefs.IsInvalidArgument, `"/none": stat /none: no such file or directory`)
	in, err := l.ContainerInspect(l.ctx, box)
	l.must(err)
	if in.State.ExitCode != 127 || in.State.Running {
		l.t.Errorf("it is %+v, want exited with 127", in.State)
	}
	l.must(l.ContainerRemove(l.ctx, box, container.RemoveOptions{}))
	if _, err := l.ImageRemove(l.ctx, id, image.RemoveOptions{}); err != nil {
		l.t.Error(err)
	}
	stream, _ := l.Events(l.ctx, events.ListOptions{Since: began.Format(time.RFC3339Nano), Until: time.Now().Format(time.RFC3339Nano),
		Filters: filters.NewArgs(filters.Arg("type", "image"), filters.Arg("image", id))})
	labels := map[events.Action]string{}
	for len(labels) < 2 {
		m := <-stream
		if m.Action == "" {
			break
		}
		labels[m.Action] = m.Actor.Attributes["ct.empty"]
	}
	if labels["import"] != "1" || labels["delete"] != "" {
		l.t.Errorf("events of the image have the labels %q, want one of the import", labels)
	}
}

// TestGPUsAreGivenInTheWayThatTheEngineHas holds GPUs to engines with and without the
// toolkit, in memory, and real ones where a lab can be raised.
func TestGPUsAreGivenInTheWayThatTheEngineHas(t *testing.T) {
	for _, c := range []struct {
		kit    enginetest.Toolkit
		want   engine.Way
		reason string
	}{
		{enginetest.Hook, engine.ByRequest, ""},
		{enginetest.Runtime, engine.ByRuntime, ""},
		{enginetest.None, engine.NoWay, `could not select device driver "" with capabilities: [[gpu]]`},
	} {
		check := func(t *testing.T, host string) {
			e, err := engine.New(engine.Config{Host: host})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			for range 2 { // the second finds nothing of the first in its way
				way, reason, err := e.GPUs(t.Context(), "GPU-a")
				if way != c.want || reason != c.reason || err != nil {
					t.Errorf("with %s it is %v, %q, %v, want %v, %q", c.kit, way, reason, err, c.want, c.reason)
				}
			}
			leavesNothing(t, host)
		}
		t.Run("twin with "+string(c.kit), func(t *testing.T) { check(t, serveKit(t, c.kit)) })
		t.Run("real with "+string(c.kit), func(t *testing.T) {
			switch {
			case os.Getenv("DDOCKER_TEST_ENGINE") != "":
				check(t, raiseKit(t, c.kit))
			case os.Getenv("CI") != "":
				t.Fatal("DDOCKER_TEST_ENGINE is not set: the twin's toolkit was compared with nothing")
			default:
				t.Log("WARNING: DDOCKER_TEST_ENGINE is not set: THE TWIN'S TOOLKIT WAS COMPARED WITH NOTHING")
			}
		})
	}
}

// What a crash left of a trial goes with the next one, and nothing else that has its label.
func TestTrialRemovesWhatTrialsHaveLeftAndNothingElse(t *testing.T) {
	host := serveKit(t, enginetest.Hook)
	e, err := engine.New(engine.Config{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	mark := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	l := lab{t: t, ctx: t.Context(), host: host}
	l.after(func(l lab) {
		body, err := l.ImageImport(l.ctx, image.ImportSource{Source: strings.NewReader(string(make([]byte, 1024))), SourceName: "-"}, "user:1",
			image.ImportOptions{Changes: []string{"LABEL " + engine.LabelProbe + "=" + mark}})
		l.must(err)
		body.Close()
		box := func(name string, labels map[string]string) {
			if _, err := l.tryCreate(name, container.Config{Image: "user:1", Cmd: []string{"/x"}, Labels: labels}, container.HostConfig{}); err != nil {
				t.Fatal(err)
			}
		}
		box("ddocker-probe-"+mark, nil)
		box("user", nil)
		box("ddocker-probe-ZZZZZZZZZZZZZZZZZZZZZZZZZZ", nil)
		box("ddocker-probe-1", map[string]string{engine.LabelProbe: "1"})
		box("ddocker-probe-AAAAAAAAAAAAAAAAAAAAAAAAAA", map[string]string{engine.LabelProbe: "AAAAAAAAAAAAAAAAAAAAAAAAAA", engine.LabelPlacement: "p1"})
		if _, _, err := e.GPUs(l.ctx, "GPU-a"); err != nil {
			t.Fatal(err)
		}
		list, err := l.ContainerList(l.ctx, container.ListOptions{All: true})
		l.must(err)
		images, err := l.ImageList(l.ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", engine.LabelProbe))})
		l.must(err)
		if len(list) != 4 || len(images) != 1 {
			t.Errorf("left are %d containers and %d images with its label, want 4 and 1: %+v", len(list), len(images), list)
		}
	})
}

func leavesNothing(t *testing.T, host string) {
	t.Helper()
	l := lab{t: t, ctx: t.Context(), host: host}
	l.after(func(l lab) {
		ours := filters.NewArgs(filters.Arg("label", engine.LabelProbe))
		containers, err := l.ContainerList(l.ctx, container.ListOptions{All: true, Filters: ours})
		l.must(err)
		images, err := l.ImageList(l.ctx, image.ListOptions{All: true, Filters: ours})
		l.must(err)
		if len(containers)+len(images) > 0 {
			t.Errorf("trials left %v and %v", containers, images)
		}
	})
}

func serveKit(t *testing.T, kit enginetest.Toolkit) (host string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, enginetest.New(enginetest.Config{GPUs: []string{"GPU-a"}, Toolkit: kit}), l)
	return "unix://" + path
}

// raiseKit raises a lab of one engine that finds such a toolkit, as far as there is one
// without a card: a hook that does nothing, and runc by another name.
func raiseKit(t *testing.T, kit enginetest.Toolkit) (host string) {
	t.Helper()
	dir := t.TempDir()
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	switch kit {
	case enginetest.Hook:
		script("nvidia-container-runtime-hook", "cat >/dev/null")
	case enginetest.Runtime:
		dockerd, err := exec.LookPath("dockerd")
		if err != nil {
			t.Fatal(err)
		}
		script("nvidia-runtime", `exec runc "$@"`)
		script("dockerd", "exec "+dockerd+" --add-runtime nvidia="+dir+`/nvidia-runtime "$@"`)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	hold := exec.CommandContext(ctx, "../../test/lab/lab.sh", "hold", "1")
	hold.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	hold.Stderr = os.Stderr
	in, err := hold.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := hold.StdoutPipe()
	if err == nil {
		err = hold.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	raised, err := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		in.Close()
		if err := hold.Wait(); err != nil {
			t.Errorf("the lab went down with %v", err)
		}
	})
	if err != nil {
		t.Fatal("the lab could not be raised: ", err)
	}
	return "unix://" + strings.TrimSpace(raised) + "/h1/docker.sock"
}
