package enginetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// exec is one program that runs, will run or has run in a container.
type exec struct {
	id      string
	in      *box
	opts    container.ExecOptions
	started bool
	running bool
	code    int
}

// createExec is POST /containers/{id}/exec.
func (t *Twin) createExec(c call, b *box) reply {
	var opts container.ExecOptions
	if r := c.decode(&opts); r != nil {
		return *r
	}
	if len(opts.Cmd) == 0 {
		return refuse(http.StatusBadRequest, "No exec command specified")
	}
	if !b.running {
		return refuse(http.StatusConflict, "Container %s is not running", b.id)
	}
	e := &exec{id: newID(), in: b, opts: opts}
	t.execs[e.id] = e
	b.execs = append(b.execs, e.id)
	return reply{http.StatusCreated, container.ExecCreateResponse{ID: e.id}}
}

// inspectExec is GET /exec/{id}/json.
func (t *Twin) inspectExec(c call) reply {
	e := t.execs[c.PathValue("id")]
	if e == nil {
		return refuse(http.StatusNotFound, "No such exec instance: %s", c.PathValue("id"))
	}
	return reply{http.StatusOK, struct {
		container.ExecInspect
		OpenStdin, OpenStdout, OpenStderr bool
	}{
		container.ExecInspect{ExecID: e.id, ContainerID: e.in.id, Running: e.running, ExitCode: e.code},
		e.opts.AttachStdin, e.opts.AttachStdout, e.opts.AttachStderr,
	}}
}

// resizeExec is POST /exec/{id}/resize.
func (t *Twin) resizeExec(c call) reply {
	e := t.execs[c.PathValue("id")]
	if e == nil || !e.running {
		return refuse(http.StatusNotFound, "no such exec")
	}
	return reply{http.StatusOK, nil}
}

// streamExec is POST /exec/{id}/start: the connection becomes the program's
// streams, unless it is to run detached.
func (t *Twin) streamExec(w http.ResponseWriter, r *http.Request) {
	c, err := receive(r)
	if err != nil {
		write(w, refuse(http.StatusBadRequest, "%v", err))
		return
	}
	var opts container.ExecStartOptions
	if err := json.Unmarshal(c.body, &opts); err != nil && len(c.body) > 0 {
		write(w, refuse(http.StatusBadRequest, "%v", err))
		return
	}
	var e *exec
	rep, ok := t.perform(r.Context(), Exec, func() reply {
		e = t.execs[r.PathValue("id")]
		return t.begin(e, r.PathValue("id"))
	})
	if !ok {
		return
	}
	if rep.status >= http.StatusMultipleChoices {
		write(w, rep)
		return
	}
	p := program{tty: opts.Tty || e.opts.Tty, args: e.opts.Cmd}
	if opts.Detach {
		t.finishExec(e, p.run(strings.NewReader(""), io.Discard))
		write(w, rep)
		return
	}
	stdin, conn, err := hijack(w, r)
	if err != nil {
		t.finishExec(e, killed)
		return
	}
	defer conn.Close()
	if !e.opts.AttachStdin {
		stdin = strings.NewReader("")
	}
	t.finishExec(e, p.run(stdin, conn))
}

// begin runs with the lock held.
func (t *Twin) begin(e *exec, id string) reply {
	switch {
	case e == nil:
		return refuse(http.StatusNotFound, "No such exec instance: %s", id)
	case e.started:
		return refuse(http.StatusConflict, "Error: Exec command %s has already run", id)
	case !e.in.running:
		return refuse(http.StatusConflict, "Container %s is not running", e.in.id)
	}
	e.started, e.running = true, true
	return reply{http.StatusOK, nil}
}

func (t *Twin) finishExec(e *exec, code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.running, e.code = false, code
}

// hijack takes the connection over and greets as moby does.
func hijack(w http.ResponseWriter, r *http.Request) (io.Reader, net.Conn, error) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	greeting := "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
	if r.Header.Get("Upgrade") != "" {
		greeting = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
	}
	if _, err := io.WriteString(conn, greeting+"\r\n"); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return buf, conn, nil
}

// program is a command that the twin may know how to run.
type program struct {
	tty  bool
	args []string
}

func (p program) known() bool {
	switch p.args[0] {
	case "echo", "true", "false", "cat":
		return true
	}
	return false
}

// run returns the exit code. Without a tty, out gets stdcopy's frames.
func (p program) run(stdin io.Reader, out io.Writer) (code int) {
	if !p.tty {
		out = stdcopy.NewStdWriter(out, stdcopy.Stdout)
	}
	switch p.args[0] {
	case "echo":
		fmt.Fprintln(out, strings.Join(p.args[1:], " "))
	case "true":
	case "false":
		return 1
	case "cat":
		io.Copy(out, stdin) // ends when either side has gone
	default:
		fmt.Fprintf(out, "OCI runtime exec failed: exec failed: unable to start container process: exec: %q: executable file not found in $PATH: unknown\r\n", p.args[0])
		return 126
	}
	return 0
}
