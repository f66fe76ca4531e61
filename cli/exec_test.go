package cli

import (
	"io"
	"net/http"
	"reflect"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// echoes lets an exec in container abc print what it gets, up to the end of a
// line, and leave with code.
func (g *agent) echoes(code string) {
	g.answers("POST /containers/abc/exec", http.StatusCreated, `{"Id":"e1"}`)
	g.answers("GET /exec/e1/json", http.StatusOK, `{"ExitCode":`+code+`}`)
	g.hijacks("POST /exec/e1/start", func(in io.Reader, out io.Writer) {
		io.WriteString(stdcopy.NewStdWriter(out, stdcopy.Stderr), "warned\n")
		io.WriteString(stdcopy.NewStdWriter(out, stdcopy.Stdout), "got "+lineOf(in))
	})
}

func TestExecPassesInputOutputAndExitCodeOn(t *testing.T) {
	for _, code := range []int{0, 7, 126, 127} {
		g := newAgent(t)
		g.echoes(map[int]string{0: "0", 7: "7", 126: "126", 127: "127"}[code])
		g.runs(t, "data\n", "exec", "-i", "abc", "cat", "-n").wants(t, code, "got data\n", "warned\n")
	}
}

func TestExecReadsNothingWithoutInteractive(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/abc/exec", http.StatusCreated, `{"Id":"e1"}`)
	g.answers("GET /exec/e1/json", http.StatusOK, `{}`)
	g.hijacks("POST /exec/e1/start", func(_ io.Reader, out io.Writer) {
		io.WriteString(stdcopy.NewStdWriter(out, stdcopy.Stdout), "hi\n")
	})
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": g.socket}, "exec", "abc", "echo", "hi").wants(t, 0, "hi\n")
}

func TestExecSendsItsFlags(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/abc/exec", http.StatusCreated, `{"Id":"e1"}`)
	g.answers("POST /exec/e1/start", http.StatusOK, "")
	g.runs(t, "", "exec", "-d", "-t", "--privileged", "-u", "1000", "-w", "/src", "-e", "A=1", "-e", "USER", "-e", "UNSET",
		"abc", "ls", "-l").wants(t, 0, "")
	var got container.ExecOptions
	g.body(t, "POST /containers/abc/exec", &got)
	want := container.ExecOptions{User: "1000", Privileged: true, Tty: true, Env: []string{"A=1", "USER=jsikyoon", "UNSET"},
		WorkingDir: "/src", Cmd: []string{"ls", "-l"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("exec asked for %+v\nwant %+v", got, want)
	}
}

func TestExecRefusals(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/nosuch/exec", http.StatusNotFound, `{"message":"No such container: nosuch"}`)
	g.runs(t, "", "exec", "nosuch", "ls").wants(t, 1, "", "Error: No such container: nosuch\n")
	g.runs(t, "", "exec", "-it", "abc", "ls").wants(t, 1, "", "Error: the input device is not a TTY")
	g.runs(t, "", "exec", "--detach-keys", "ctrl-", "abc", "ls").wants(t, 125, "", "Error: understand --detach-keys")
	g.runs(t, "", "exec", "-e", "=x", "abc", "ls").wants(t, 125, "", "Error: invalid environment variable: =x")
	g.runs(t, "", "exec", "--env-file", "/nosuch", "abc", "ls").wants(t, 125, "", "Error: read --env-file")
}

func TestStartAttachedPassesOutputAndExitCodeOn(t *testing.T) {
	g := newAgent(t)
	started := make(chan struct{})
	g.answers("GET /containers/abc/json", http.StatusOK, `{"Id":"0123","Config":{"OpenStdin":true}}`)
	g.hijacks("POST /containers/0123/attach", func(in io.Reader, out io.Writer) {
		<-started
		io.WriteString(stdcopy.NewStdWriter(out, stdcopy.Stdout), "got "+lineOf(in))
	})
	g.answers("POST /containers/0123/wait", http.StatusOK, `{"StatusCode":5}`)
	g.HandleFunc("POST /containers/0123/start", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		close(started)
	})
	g.runs(t, "data\n", "start", "-ai", "abc").wants(t, 5, "got data\n")
	g.runs(t, "", "start", "-a", "abc", "def").wants(t, 1, "", "Error: cannot attach to several containers at once")
}
