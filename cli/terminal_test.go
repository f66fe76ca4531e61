package cli

import (
	"context"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/moby/term"
)

// person sits at a pseudo-terminal.
type person struct {
	t        *testing.T
	keyboard *os.File // and screen
	tty      *os.File
	before   *term.State // of the terminal, when the command began
	seen     strings.Builder
	exit     chan int
}

// sitsDown runs a command on a terminal of 24 by 80 characters.
func (g *agent) sitsDown(t *testing.T, args ...string) *person {
	t.Helper()
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close(); tty.Close() })
	u := &person{t: t, keyboard: keyboard, tty: tty, exit: make(chan int, 1)}
	if u.before, err = term.SaveState(tty.Fd()); err != nil {
		t.Fatal(err)
	}
	u.resizes(24, 80)
	environment := map[string]string{"DDOCKER_HOST": g.socket, "USER": "jsikyoon"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	context.AfterFunc(ctx, func() { keyboard.Close() }) // ends a test that waits in vain
	go func() {
		u.exit <- Execute(ctx, Env{Args: args, Stdin: tty, Stdout: tty, Stderr: tty,
			Getenv: func(name string) string { return environment[name] }})
	}()
	return u
}

func (u *person) resizes(rows, columns uint16) {
	u.t.Helper()
	if err := pty.Setsize(u.keyboard, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		u.t.Fatal(err)
	}
}

func (u *person) types(keys string) {
	u.t.Helper()
	if _, err := io.WriteString(u.keyboard, keys); err != nil {
		u.t.Fatal(err)
	}
}

// waitsFor reads the screen up to and with text, with a person's patience.
func (u *person) waitsFor(text string) {
	u.t.Helper()
	if err := u.keyboard.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		u.t.Fatal(err)
	}
	before := u.seen.Len()
	one := make([]byte, 1)
	for !strings.HasSuffix(u.seen.String()[before:], text) {
		if _, err := u.keyboard.Read(one); err != nil {
			u.t.Fatalf("wait for %q: %v; the screen shows:\n%s", text, err, u.screen())
		}
		u.seen.Write(one)
	}
}

func (u *person) screen() string { return strings.ReplaceAll(u.seen.String(), "\r\n", "\n") }

func (u *person) leavesWith(code int) {
	u.t.Helper()
	if got := <-u.exit; got != code {
		u.t.Errorf("exit code %d, want %d; the screen shows:\n%s", got, code, u.screen())
	}
}

func TestCreateOnATerminalIsTheSeedsTranscript(t *testing.T) {
	u := seedCluster(t).sitsDown(t, "create")
	for _, answer := range []string{"\n", "\n", "1\n", "abc\n"} {
		u.waitsFor("): ")
		u.types(answer)
	}
	u.waitsFor("created!\r\n")
	u.leavesWith(0)
	want := seedTranscript + "WARNING: mind the step\nabc\nSuccessfully created!\n"
	if got := atSeedTime(u.screen()); got != want {
		t.Errorf("screen:\n%s\nwant:\n%s", got, want)
	}
}

func TestAWrongNumberIsAskedForAgainOnATerminal(t *testing.T) {
	u := seedCluster(t).sitsDown(t, "create", "--type", "24 cpus, 128 gb, 1 titan xp", "--name", "abc", "ubuntu")
	u.waitsFor("(default: 1): ")
	u.types("one\n")
	u.waitsFor("\"one\" is not a number from 0 to 1000\r\nInput the number of ports (default: 1): ")
	u.types("2\n")
	u.waitsFor("Successfully created!")
	u.leavesWith(0)
}

func TestTheEndOfATerminalsInputIsAnError(t *testing.T) {
	u := seedCluster(t).sitsDown(t, "create", "--type", "24 cpus, 128 gb, 1 titan xp", "--name", "abc", "ubuntu")
	u.waitsFor("(default: 1): ")
	u.types("\x04") // Ctrl-D
	u.waitsFor("the input has ended: give --ports")
	u.leavesWith(125)
}

func TestExecWithoutACommandIsAShellOnTheUsersTerminal(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/abc/exec", http.StatusCreated, `{"Id":"e1"}`)
	g.answers("GET /exec/e1/json", http.StatusOK, `{"ExitCode":3}`)
	sizes := make(chan string, 10)
	g.HandleFunc("POST /exec/e1/resize", func(_ http.ResponseWriter, r *http.Request) { sizes <- r.URL.RawQuery })
	g.hijacks("POST /exec/e1/start", func(in io.Reader, out io.Writer) {
		io.WriteString(out, "$ ")
		key := make([]byte, 1)
		in.Read(key)
		if key[0] == 3 {
			io.WriteString(out, "interrupted\n")
		}
	})
	u := g.sitsDown(t, "exec", "abc")
	u.waitsFor("$ ")
	if got, want := <-sizes, "h=24&w=80"; got != want {
		t.Errorf("first size %s, want %s", got, want)
	}
	u.resizes(30, 100)
	syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	if got, want := <-sizes, "h=30&w=100"; got != want {
		t.Errorf("size after a change %s, want %s", got, want)
	}
	u.types("\x03") // Ctrl-C, which is the shell's
	u.waitsFor("interrupted")
	u.leavesWith(3)

	var body struct {
		AttachStdin, Tty bool
		Cmd              []string
	}
	g.body(t, "POST /containers/abc/exec", &body)
	if !body.AttachStdin || !body.Tty || !reflect.DeepEqual(body.Cmd, []string{"/bin/bash"}) {
		t.Errorf("exec asked for %+v", body)
	}
	if after, err := term.SaveState(u.tty.Fd()); err != nil || !reflect.DeepEqual(after, u.before) {
		t.Errorf("the terminal was left as %+v (%v), want %+v", after, err, u.before)
	}
}

func TestTheDetachKeysLeaveAndTheProcessGoesOn(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/abc/exec", http.StatusCreated, `{"Id":"e1"}`)
	g.answers("POST /exec/e1/resize", http.StatusOK, "")
	left := make(chan string, 1)
	g.hijacks("POST /exec/e1/start", func(in io.Reader, out io.Writer) {
		io.WriteString(out, "$ ")
		rest, _ := io.ReadAll(in)
		left <- string(rest)
	})
	u := g.sitsDown(t, "exec", "abc")
	u.waitsFor("$ ")
	u.types("a\x10\x11") // Ctrl-P, Ctrl-Q
	u.leavesWith(0)
	if got := <-left; got != "a" {
		t.Errorf("the process got %q, want %q", got, "a")
	}
}
