package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"ddocker/test/lab"
)

// sizes are how much goes through a stream, in MiB, and how many clients follow one:
// what is quick, or with DDOCKER_STREAMS=full what the cluster is made for.
func sizes() (mb, followers int) {
	if os.Getenv("DDOCKER_STREAMS") == "full" {
		return 1024, 1000
	}
	return 32, 200
}

// agentProcess is the directory in /proc of a host's agent.
func agentProcess(t *testing.T, l *lab.Lab, h *lab.Host) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, _ := os.ReadFile(file) // a process that has ended is not the one
		if bytes.Contains(text, []byte("\x00agent\x00")) && bytes.Contains(text, []byte(filepath.Join(l.Dir, h.Name(), "state"))) {
			return filepath.Dir(file)
		}
	}
	t.Fatalf("%s has no agent", h.Name())
	return ""
}

// resident is how much memory a process has, in MiB.
func resident(t *testing.T, process string) int {
	text, err := os.ReadFile(filepath.Join(process, "status"))
	if err != nil {
		t.Error(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Error(err)
	}
	return kb >> 10
}

// descriptors is how many files and connections a process has open.
func descriptors(t *testing.T, process string) int {
	open, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// TestStreams has much pass through a node that does not hold the container.
func TestStreams(t *testing.T) {
	l := bare(t)
	l.Cluster(t)
	agents := []string{agentProcess(t, l, l.Host(1)), agentProcess(t, l, l.Host(3))}
	mb, followers := sizes()
	for _, test := range []struct {
		name, command string
		check         func(o *onThird)
	}{
		{"long ones take no memory", fmt.Sprintf("busybox yes %s | busybox head -c %d; sleep 1000", strings.Repeat("0123456789", 100), mb<<20),
			func(o *onThird) { o.passMuch(mb) }},
		{"a hundred terminals are typed into", "sleep 1000", (*onThird).terminals},
		{"one side is closed, or leaves without a word", "while :; do echo tick; sleep 0.1; done", (*onThird).ends},
		{"many followers are told", "echo last words; sleep 1000", func(o *onThird) { o.follow(followers) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := client.NewClientWithOpts(client.WithHost(l.Host(1).Agent()), client.WithVersion("1.41"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			o := &onThird{Client: c, t: t, asked: l.Host(1), agents: agents}
			o.id = strings.TrimSpace(o.docker("run", "-d", "--label", "ddocker.node=h3", "busybox", "sh", "-c", test.command))
			defer o.docker("rm", "-f", o.id)
			test.check(o)
		})
	}
}

// onThird is a container on h3, asked for through h1.
type onThird struct {
	*client.Client
	t      *testing.T
	asked  *lab.Host
	agents []string // in /proc: of the host that is asked, and of the holder
	id     string
}

// docker runs the stock client against h1's agent.
func (o *onThird) docker(args ...string) string {
	o.t.Helper()
	r := o.asked.Run(append([]string{"docker", "-H", o.asked.Agent()}, args...)...)
	if r.Code != 0 {
		o.t.Fatalf("docker %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func (o *onThird) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// flat does something and fails the test if it takes the agents' memory meanwhile.
func (o *onThird) flat(what string, mb int, do func()) {
	o.t.Helper()
	before := []int{resident(o.t, o.agents[0]), resident(o.t, o.agents[1])}
	most := [2]atomic.Int64{}
	done := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			for i, agent := range o.agents {
				most[i].Store(max(most[i].Load(), int64(resident(o.t, agent))))
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	began := time.Now()
	do()
	took := time.Since(began)
	close(done)
	sampling.Wait()
	for i, agent := range []string{"h1", "h3"} {
		rise := int(most[i].Load()) - before[i]
		o.t.Logf("%s: %d MiB in %v (%.0f MiB/s): memory of the agent of %s rose from %d to %d MiB", what, mb, took.Round(time.Millisecond), float64(mb)/took.Seconds(), agent, before[i], most[i].Load())
		if rise > 48 {
			o.t.Errorf("%s: memory of the agent of %s rises by %d MiB", what, agent, rise)
		}
	}
}

// settled fails the test unless the agents' descriptors come back to what they were,
// but for some connections between nodes, which are kept for the next requests.
func (o *onThird) settled(before []int, kept int) {
	o.t.Helper()
	lab.Eventually(o.t, 20*time.Second, func() error {
		for i, agent := range o.agents {
			if now := descriptors(o.t, agent); now > before[i]+kept {
				return fmt.Errorf("agent %d has %d descriptors, had %d", i, now, before[i])
			}
		}
		return nil
	})
}

func (o *onThird) descriptors() []int {
	return []int{descriptors(o.t, o.agents[0]), descriptors(o.t, o.agents[1])}
}

func (o *onThird) passMuch(mb int) {
	t := o.t
	file := filepath.Join(t.TempDir(), "much")
	o.must(os.WriteFile(file, nil, 0o600))
	o.must(os.Truncate(file, int64(mb)<<20))
	o.flat("cp into it", mb, func() { o.docker("cp", file, o.id+":/much") })
	o.flat("cp out of it", mb, func() {
		from, _, err := o.CopyFromContainer(t.Context(), o.id, "/much")
		o.must(err)
		defer from.Close()
		n, err := io.Copy(io.Discard, from)
		if o.must(err); n < int64(mb)<<20 {
			t.Errorf("%d bytes came out", n)
		}
	})
	o.flat("logs", mb, func() {
		logs, err := o.ContainerLogs(t.Context(), o.id, container.LogsOptions{ShowStdout: true, Follow: true})
		o.must(err)
		defer logs.Close()
		if n, err := io.CopyN(io.Discard, logs, int64(mb)<<20); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
	})
}

// follow has many clients follow the container's logs.
func (o *onThird) follow(followers int) {
	t := o.t
	before := o.descriptors()
	var told, ended atomic.Int32
	var following sync.WaitGroup
	for range followers {
		logs, err := o.ContainerLogs(t.Context(), o.id, container.LogsOptions{ShowStdout: true, Follow: true})
		o.must(err)
		following.Go(func() {
			defer logs.Close()
			lines := bufio.NewScanner(logs)
			for lines.Scan() {
				if strings.Contains(lines.Text(), "last words") {
					told.Add(1)
				}
			}
			if lines.Err() == nil {
				ended.Add(1)
			}
		})
	}
	lab.Eventually(t, 30*time.Second, func() error {
		if n := int(told.Load()); n != followers {
			return fmt.Errorf("%d of %d were told", n, followers)
		}
		return nil
	})
	o.docker("kill", o.id)
	following.Wait()
	if n := int(ended.Load()); n != followers {
		t.Errorf("the logs of %d followers end, of %d", n, followers)
	}
	o.settled(before, 128+32) // to a node and to an engine, for 90 seconds
}

// terminals types into a hundred.
func (o *onThird) terminals() {
	t := o.t
	before := o.descriptors()
	var typing sync.WaitGroup
	gate := make(chan struct{}, 20) // an engine starts no more at once
	for i := range 100 {
		typing.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			if err := o.terminal(t.Context(), uint(60+i)); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	typing.Wait()
	o.settled(before, 40)
}

// terminal opens a session, resizes it, and ends it by Ctrl-C.
func (o *onThird) terminal(ctx context.Context, columns uint) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	made, err := o.ContainerExecCreate(ctx, o.id, container.ExecOptions{
		AttachStdin: true, AttachStdout: true, Tty: true, Cmd: []string{"sh", "-c", "trap 'stty size; exit 7' INT; echo ready; while :; do sleep 0.05; done"},
	})
	if err != nil {
		return err
	}
	conn, err := o.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{Tty: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	if line, err := conn.Reader.ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		return fmt.Errorf("it begins with %q: %w", line, err)
	}
	if err := o.ContainerExecResize(ctx, made.ID, container.ResizeOptions{Height: 30, Width: columns}); err != nil {
		return err
	}
	if _, err := conn.Conn.Write([]byte{3}); err != nil {
		return err
	}
	rest, err := io.ReadAll(conn.Reader)
	if want := fmt.Sprintf("30 %d", columns); err != nil || !strings.Contains(string(rest), want) {
		return errors.Join(err, fmt.Errorf("it ends with %q, want %q", rest, want))
	}
	in, err := o.ContainerExecInspect(ctx, made.ID)
	if err == nil && in.ExitCode != 7 {
		return fmt.Errorf("exit code %d", in.ExitCode)
	}
	return err
}

// ends closes one side, or leaves without a word.
func (o *onThird) ends() {
	t := o.t
	before := o.descriptors()

	made, err := o.ContainerExecCreate(t.Context(), o.id, container.ExecOptions{AttachStdin: true, AttachStdout: true, Cmd: []string{"sh", "-c", "cat; echo end"}})
	o.must(err)
	conn, err := o.ContainerExecAttach(t.Context(), made.ID, container.ExecAttachOptions{})
	o.must(err)
	_, err = io.WriteString(conn.Conn, strings.Repeat("to and fro\n", 100000))
	o.must(errors.Join(err, conn.CloseWrite()))
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, conn.Reader); err != nil || out.Len() != 1100000+4 {
		t.Errorf("after the half-close %d bytes came back: %v", out.Len(), err)
	}
	conn.Close()

	var leaving sync.WaitGroup
	for _, args := range [][]string{{"logs", "-f", o.id}, {"attach", "--no-stdin", o.id}, {"exec", o.id, "sh", "-c", "echo tick; sleep 1000"}, {"stats"}, {"events", "--since", "1"}, {"wait", o.id}} {
		for range 3 {
			leaving.Go(func() { o.leave(args) })
		}
	}
	leaving.Wait()
	o.settled(before, 40) // spare connections among them

	if text := o.docker("stats", "--no-stream", "--format", "{{.Container}} {{.PIDs}}"); !strings.HasPrefix(text, o.id[:12]+" ") {
		t.Errorf("stats: %q", text)
	}
	o.websocket()
	o.settled(before, 40)
}

// leave kills a client of docker once it has said something.
func (o *onThird) leave(args []string) {
	patience := 20 * time.Second
	if args[0] == "wait" {
		patience = time.Second // it says nothing
	}
	ctx, kill := context.WithTimeout(o.t.Context(), patience)
	defer kill()
	cmd := o.asked.Command(ctx, append([]string{"docker", "-H", o.asked.Agent()}, args...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		o.t.Error(err)
		return
	}
	n, _ := out.Read(make([]byte, 100)) // an error is its end
	if n == 0 && args[0] != "wait" {
		o.t.Errorf("docker %s says nothing", args[0])
	}
	kill()
	cmd.Wait() // it was killed
}

// websocket attaches as a browser would.
func (o *onThird) websocket() {
	o.t.Helper()
	conn, err := o.Dialer()(o.t.Context())
	o.must(err)
	defer conn.Close()
	o.must(conn.SetDeadline(time.Now().Add(10 * time.Second)))
	fmt.Fprintf(conn, "GET /v1.41/containers/%s/attach/ws?stream=1&stdout=1 HTTP/1.1\r\nHost: docker\r\nOrigin: http://docker\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", o.id)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	o.must(err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		o.t.Errorf("websocket: %s", resp.Status)
		return
	}
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "tick") {
		o.t.Errorf("the websocket says %q: %v", line, err)
	}
}
