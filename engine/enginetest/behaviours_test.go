package enginetest_test

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

type behaviour struct {
	is    string
	check func(lab)
}

func behaviours() []behaviour {
	return []behaviour{
		{"a taken name is refused with its holder", takenName},
		{"an unknown image is refused", unknownImage},
		{"cores that are not there are refused", absentCores},
		{"a bad name is refused", badName},
		{"an empty configuration is refused", emptyConfig},
		{"an API version out of range is refused", badVersion},
		{"starting or stopping twice is 304", twice},
		{"a bound port is refused at start and free after the stop", boundPort},
		{"a port that the engine chooses is listed and inspected", chosenPort},
		{"a GPU without a driver is refused at start", noGPU},
		{"an update moves cores", moveCores},
		{"a limit of cores keeps its form", keepForm},
		{"a rename frees the old name", rename},
		{"a running container is removed only by force", removeRunning},
		{"an ID may be shortened", shortID},
		{"a list is filtered by label", filterLabel},
		{"a container with auto-remove is gone after its exit", autoRemove},
		{"wait tells the exit code", waitExit},
		{"logs tell what was written", logs},
		{"killing a stopped container is a conflict", killStopped},
		{"exec joins the streams", execCat},
		{"exec keeps the exit code", execFalse},
		{"exec refuses what it cannot do", execRefusals},
		{"events tell a life in order", lifeEvents},
	}
}

func takenName(l lab) {
	name := l.name("a")
	id := l.create(name, container.Config{}, container.HostConfig{})
	_, err := l.tryCreate(name, container.Config{}, container.HostConfig{})
	l.refuses(err, errdefs.IsConflict, `Conflict\. The container name "/`+name+`" is already in use by container "?`+id+`"?\. You have to remove \(or rename\) that container to be able to reuse that name\.`)
}

func unknownImage(l lab) {
	_, err := l.tryCreate(l.name("a"), container.Config{Image: "ct-none"}, container.HostConfig{})
	l.refuses(err, errdefs.IsNotFound, `No such image: ct-none:latest`)
	_, err = l.ImageInspect(l.ctx, "ct-none")
	l.refuses(err, errdefs.IsNotFound, `No such image: ct-none:latest`)
	_, err = l.ImageRemove(l.ctx, "ct-none", image.RemoveOptions{})
	l.refuses(err, errdefs.IsNotFound, `No such image: ct-none:latest`)
}

func absentCores(l lab) {
	for cpus, sentence := range map[string]string{
		"4000": `Requested CPUs are not available - requested 4000, available: `,
		"x":    `Invalid value x for cpuset cpus`,
	} {
		_, err := l.tryCreate(l.name("a"), container.Config{}, container.HostConfig{Resources: container.Resources{CpusetCpus: cpus}})
		l.refuses(err, errdefs.IsInvalidArgument, sentence)
	}
	_, err := l.tryCreate(l.name("a"), container.Config{}, container.HostConfig{Resources: container.Resources{NanoCPUs: 9e14}})
	l.refuses(err, errdefs.IsInvalidArgument, `Range of CPUs is from 0\.01 to \d+\.00, as there are only \d+ CPUs available`)
}

func badName(l lab) {
	_, err := l.tryCreate("-bad", container.Config{}, container.HostConfig{})
	l.refuses(err, errdefs.IsInvalidArgument, `Invalid container name \(-bad\), only \[a-zA-Z0-9\]\[a-zA-Z0-9_\.-\] are allowed`)
}

func emptyConfig(l lab) {
	l.answers("POST", "/v1.41/containers/create?name="+l.name("a"), `{}`, 400, `(?i)"message":".*config.* cannot be empty`)
}

func badVersion(l lab) {
	l.answers("GET", "/v1.999/info", ``, 400, `client version 1\.999 is too new\. Maximum supported API version is 1\.`)
	l.answers("GET", "/v1.2/info", ``, 400, `client version 1\.2 is too old\. Minimum supported API version is 1\.`)
	l.answers("GET", "/v1.41/nowhere", ``, 404, `{"message":"page not found"}`)
	l.answers("HEAD", "/_ping", ``, 200, `^$`)
	l.answers("GET", "/_ping", ``, 200, `^OK$`)
}

func twice(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	for _, want := range []int{204, 304} {
		l.answers("POST", "/v1.41/containers/"+id+"/start", ``, want, `^$`)
	}
	for _, want := range []int{204, 304} {
		l.answers("POST", "/v1.41/containers/"+id+"/stop?t=0", ``, want, `^$`)
	}
}

// published is a container's wish for a host port.
func published(port string) (container.Config, container.HostConfig) {
	return container.Config{ExposedPorts: nat.PortSet{"80/tcp": {}}},
		container.HostConfig{PortBindings: nat.PortMap{"80/tcp": {{HostPort: port}}}}
}

func boundPort(l lab) {
	config, host := published("28471")
	first := l.run(l.name("a"), config, host)
	second := l.create(l.name("b"), config, host)
	err := l.ContainerStart(l.ctx, second, container.StartOptions{})
	l.refuses(err, errdefs.IsInternal, `Bind for .*:28471 failed: port is already allocated`)
	in, err := l.ContainerInspect(l.ctx, second)
	l.must(err)
	if in.State.Running || in.State.Status != container.StateCreated || in.State.ExitCode != 128 || !strings.Contains(in.State.Error, "already allocated") {
		l.t.Errorf("after the refused start its state is %+v", in.State)
	}
	now := 0
	l.must(l.ContainerStop(l.ctx, first, container.StopOptions{Timeout: &now}))
	l.must(l.ContainerStart(l.ctx, second, container.StartOptions{}))
}

func chosenPort(l lab) {
	config, host := published("")
	id := l.run(l.name("a"), config, host)
	in, err := l.ContainerInspect(l.ctx, id)
	l.must(err)
	list, err := l.ContainerList(l.ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("id", id))})
	l.must(err)
	if len(list) != 1 || len(list[0].Ports) == 0 {
		l.t.Fatalf("list tells %+v", list)
	}
	bound := in.NetworkSettings.Ports["80/tcp"]
	if len(bound) == 0 || bound[0].HostPort == "0" || bound[0].HostPort == "" {
		l.t.Fatalf("inspect tells %+v", bound)
	}
	for _, p := range list[0].Ports {
		if p.PrivatePort != 80 || p.Type != "tcp" || !slices.ContainsFunc(bound, func(b nat.PortBinding) bool {
			port, err := nat.ParsePort(b.HostPort)
			return err == nil && port == int(p.PublicPort) && b.HostIP == p.IP
		}) {
			l.t.Errorf("list tells %+v, inspect %+v", p, bound)
		}
	}
}

func noGPU(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{Resources: container.Resources{
		DeviceRequests: []container.DeviceRequest{{DeviceIDs: []string{"GPU-a"}, Capabilities: [][]string{{"gpu"}}}},
	}})
	err := l.ContainerStart(l.ctx, id, container.StartOptions{})
	l.refuses(err, errdefs.IsInternal, `could not select device driver "" with capabilities: \[\[gpu\]\]`)
}

func moveCores(l lab) {
	id := l.run(l.name("a"), container.Config{}, container.HostConfig{})
	for cpus, allowed := range map[string]bool{"1": true, "4000": false} {
		_, err := l.ContainerUpdate(l.ctx, id, container.UpdateConfig{Resources: container.Resources{CpusetCpus: cpus}})
		if allowed {
			l.must(err)
		} else {
			l.refuses(err, errdefs.IsInvalidArgument, `Requested CPUs are not available - requested 4000`)
		}
	}
	in, err := l.ContainerInspect(l.ctx, id)
	l.must(err)
	if in.HostConfig.CpusetCpus != "1" {
		l.t.Errorf("after the update it is pinned to %q", in.HostConfig.CpusetCpus)
	}
}

func keepForm(l lab) {
	nano, quota, period := container.Resources{NanoCPUs: 5e8}, container.Resources{CPUQuota: 50000}, container.Resources{CPUPeriod: 50000}
	for _, c := range []struct {
		has, wants container.Resources
		refusal    string
	}{
		{nano, quota, "CPU Quota cannot be updated as NanoCPUs has already been set"},
		{nano, period, "CPU Period cannot be updated as NanoCPUs has already been set"},
		{quota, nano, "Nano CPUs cannot be updated as CPU Quota has already been set"},
		{period, nano, "Nano CPUs cannot be updated as CPU Period has already been set"},
		{quota, period, ""},
	} {
		id := l.create(l.name("a"), container.Config{}, container.HostConfig{Resources: c.has})
		_, err := l.ContainerUpdate(l.ctx, id, container.UpdateConfig{Resources: c.wants})
		if c.refusal != "" {
			l.refuses(err, errdefs.IsConflict, c.refusal)
		} else {
			l.must(err)
		}
		l.must(l.ContainerRemove(l.ctx, id, container.RemoveOptions{}))
	}
}

func rename(l lab) {
	one, two, three := l.name("a"), l.name("b"), l.name("c")
	l.create(one, container.Config{}, container.HostConfig{})
	id := l.create(two, container.Config{}, container.HostConfig{})
	l.refuses(l.ContainerRename(l.ctx, two, one), errdefs.IsConflict, `Error when allocating new name: Conflict\. The container name "/`+one+`" is already in use`)
	l.refuses(l.ContainerRename(l.ctx, two, two), errdefs.IsInvalidArgument, `Renaming a container with the same name as its current name`)
	l.must(l.ContainerRename(l.ctx, two, three))
	_, err := l.ContainerInspect(l.ctx, two)
	l.refuses(err, errdefs.IsNotFound, `No such container: `+two)
	in, err := l.ContainerInspect(l.ctx, three)
	l.must(err)
	if in.ID != id || in.Name != "/"+three {
		l.t.Errorf("the new name leads to %s %s", in.ID, in.Name)
	}
}

func removeRunning(l lab) {
	id := l.run(l.name("a"), container.Config{}, container.HostConfig{})
	l.refuses(l.ContainerRemove(l.ctx, id, container.RemoveOptions{}), errdefs.IsConflict, `running`)
	l.must(l.ContainerRemove(l.ctx, id, container.RemoveOptions{Force: true}))
	l.refuses(l.ContainerRemove(l.ctx, id, container.RemoveOptions{Force: true}), errdefs.IsNotFound, `No such container: `+id)
}

func shortID(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	in, err := l.ContainerInspect(l.ctx, id[:12])
	l.must(err)
	if in.ID != id {
		l.t.Errorf("%s leads to %s", id[:12], in.ID)
	}
}

func filterLabel(l lab) {
	mark := l.name("mark")
	id := l.create(l.name("a"), container.Config{Labels: map[string]string{"mark": mark}}, container.HostConfig{})
	for all, want := range map[bool]int{true: 1, false: 0} {
		list, err := l.ContainerList(l.ctx, container.ListOptions{All: all, Filters: filters.NewArgs(filters.Arg("label", "mark="+mark))})
		l.must(err)
		if len(list) != want || want == 1 && (list[0].ID != id || list[0].State != container.StateCreated || list[0].Status != "Created") {
			l.t.Errorf("with all=%v the list is %+v", all, list)
		}
	}
}

func autoRemove(l lab) {
	id := l.create(l.name("a"), container.Config{Cmd: []string{"echo"}}, container.HostConfig{AutoRemove: true})
	gone, errs := l.ContainerWait(l.ctx, id, container.WaitConditionRemoved)
	l.must(l.ContainerStart(l.ctx, id, container.StartOptions{}))
	select {
	case <-gone:
	case err := <-errs:
		l.t.Fatal(err)
	}
	_, err := l.ContainerInspect(l.ctx, id)
	l.refuses(err, errdefs.IsNotFound, `No such container: `+id)
}

func waitExit(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	done, errs := l.ContainerWait(l.ctx, id, container.WaitConditionNextExit)
	l.must(l.ContainerStart(l.ctx, id, container.StartOptions{}))
	l.must(l.ContainerKill(l.ctx, id, "KILL"))
	select {
	case r := <-done:
		if r.StatusCode != 137 || r.Error != nil {
			l.t.Errorf("wait tells %+v", r)
		}
	case err := <-errs:
		l.t.Fatal(err)
	}
	done, errs = l.ContainerWait(l.ctx, id, container.WaitConditionNotRunning)
	select {
	case r := <-done:
		if r.StatusCode != 137 {
			l.t.Errorf("wait for the stopped container tells %+v", r)
		}
	case err := <-errs:
		l.t.Fatal(err)
	}
	_, errs = l.ContainerWait(l.ctx, "ct-none", container.WaitConditionNotRunning)
	l.refuses(<-errs, errdefs.IsNotFound, `No such container: ct-none`)
}

func logs(l lab) {
	id := l.run(l.name("a"), container.Config{Cmd: []string{"echo", "hello", "world"}}, container.HostConfig{})
	r, err := l.ContainerLogs(l.ctx, id, container.LogsOptions{ShowStdout: true, Follow: true})
	l.must(err)
	defer r.Close()
	var out, errOut bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &errOut, r)
	l.must(err)
	if out.String() != "hello world\n" || errOut.Len() > 0 {
		l.t.Errorf("logs tell %q and %q", &out, &errOut)
	}
	_, err = l.ContainerLogs(l.ctx, id, container.LogsOptions{})
	l.refuses(err, errdefs.IsInvalidArgument, `you must choose at least one stream`)
}

func killStopped(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	l.refuses(l.ContainerKill(l.ctx, id, "KILL"), errdefs.IsConflict, `container `+id+` is not running`)
}

func execCat(l lab) {
	id := l.run(l.name("a"), container.Config{}, container.HostConfig{})
	made, err := l.ContainerExecCreate(l.ctx, id, container.ExecOptions{AttachStdin: true, AttachStdout: true, Cmd: []string{"cat"}})
	l.must(err)
	conn, err := l.ContainerExecAttach(l.ctx, made.ID, container.ExecAttachOptions{})
	l.must(err)
	defer conn.Close()
	sent := strings.Repeat("to and fro\n", 1000)
	if _, err := io.WriteString(conn.Conn, sent); err != nil {
		l.t.Fatal(err)
	}
	l.must(conn.CloseWrite())
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, conn.Reader)
	l.must(err)
	if out.String() != sent {
		l.t.Errorf("sent %d bytes, got %d back", len(sent), out.Len())
	}
}

// exec runs a program in a running container and returns its exec and output.
func (l lab) exec(id string, cmd ...string) (exec, out string) {
	l.t.Helper()
	made, err := l.ContainerExecCreate(l.ctx, id, container.ExecOptions{AttachStdout: true, Cmd: cmd})
	l.must(err)
	conn, err := l.ContainerExecAttach(l.ctx, made.ID, container.ExecAttachOptions{})
	l.must(err)
	defer conn.Close()
	var b bytes.Buffer
	_, err = stdcopy.StdCopy(&b, io.Discard, conn.Reader)
	l.must(err)
	return made.ID, b.String()
}

func execFalse(l lab) {
	id := l.run(l.name("a"), container.Config{}, container.HostConfig{})
	for _, x := range []struct {
		cmd  []string
		out  string
		code int
	}{
		{[]string{"echo", "hi"}, "hi\n", 0},
		{[]string{"nowhere"}, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nowhere\": executable file not found in $PATH: unknown\r\n", 126},
	} {
		exec, out := l.exec(id, x.cmd...)
		if out != x.out {
			l.t.Errorf("%v wrote %q", x.cmd, out)
		}
		in, err := l.ContainerExecInspect(l.ctx, exec)
		l.must(err)
		if in.Running || in.ExitCode != x.code && in.ExitCode != 127 || in.ContainerID != id {
			l.t.Errorf("%v ended as %+v", x.cmd, in)
		}
	}
}

func execRefusals(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	_, err := l.ContainerExecCreate(l.ctx, id, container.ExecOptions{Cmd: []string{"echo"}})
	l.refuses(err, errdefs.IsConflict, `container `+id+` is not running`)
	l.must(l.ContainerStart(l.ctx, id, container.StartOptions{}))
	_, err = l.ContainerExecCreate(l.ctx, id, container.ExecOptions{})
	l.refuses(err, errdefs.IsInvalidArgument, `No exec command specified`)
	_, err = l.ContainerExecInspect(l.ctx, "nope")
	l.refuses(err, errdefs.IsNotFound, `No such exec instance: nope`)
	l.refuses(l.ContainerExecResize(l.ctx, "nope", container.ResizeOptions{Height: 2, Width: 2}), errdefs.IsNotFound, `No such exec`)
}

func lifeEvents(l lab) {
	name := l.name("a")
	stream, errs := l.Events(l.ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("container", name))})
	id := l.run(name, container.Config{}, container.HostConfig{})
	l.must(l.ContainerRemove(l.ctx, id, container.RemoveOptions{Force: true}))
	var told []string
	for last := ""; last != "destroy"; {
		select {
		case m := <-stream:
			if m.Actor.ID != id || m.Type != "container" || m.Actor.Attributes["name"] != name || m.TimeNano == 0 {
				l.t.Errorf("event is %+v", m)
			}
			last = string(m.Action)
			told = append(told, last)
		case err := <-errs:
			l.t.Fatalf("after %v: %v", told, err)
		}
	}
	if want := []string{"create", "start", "kill", "die", "destroy"}; !slices.Equal(told, want) {
		l.t.Errorf("events are %v, want %v", told, want)
	}
}
