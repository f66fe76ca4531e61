package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"ddocker/test/lab"
)

// terminal is a program on a host with a person in front of it.
type terminal struct {
	t      *testing.T
	screen *os.File
	shown  chan []byte // closed when the program's side is
	unread []byte
	ended  chan error
}

// open runs a command on a host in a terminal of 80 columns and 24 rows.
func open(t *testing.T, h *lab.Host, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := h.Command(ctx, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm", "USER=alice")
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, screen: screen, shown: make(chan []byte, 64), ended: make(chan error, 1)}
	go term.read()
	go func() { term.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		screen.Close()
	})
	return term
}

func (term *terminal) read() {
	defer close(term.shown)
	for {
		chunk := make([]byte, 4096)
		n, err := term.screen.Read(chunk)
		if n > 0 {
			term.shown <- chunk[:n]
		}
		if err != nil {
			return
		}
	}
}

// expect waits until what is shown and not yet expected matches, and returns it up
// to the end of the match.
func (term *terminal) expect(pattern string) string {
	term.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		if at := re.FindIndex(term.unread); at != nil {
			seen := string(term.unread[:at[1]])
			term.unread = term.unread[at[1]:]
			return seen
		}
		select {
		case chunk, open := <-term.shown:
			if !open {
				term.t.Fatalf("want %q; the program ended and showed %q", pattern, term.unread)
			}
			term.unread = append(term.unread, bytes.ReplaceAll(chunk, []byte("\r"), nil)...)
		case <-limit.C:
			term.t.Fatalf("want %q, see %q", pattern, term.unread)
		}
	}
}

func (term *terminal) types(text string) {
	term.t.Helper()
	if _, err := term.screen.WriteString(text); err != nil {
		term.t.Fatal(err)
	}
}

// code waits for the program's end.
func (term *terminal) code() int {
	term.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case err := <-term.ended:
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			return failed.ExitCode()
		}
		if err != nil {
			term.t.Fatal(err)
		}
		return 0
	case <-limit.C:
		term.t.Fatal("the program does not end")
		return -1
	}
}

// TestTerminals has a person at them, one after the other on the same cluster.
func TestTerminals(t *testing.T) {
	l := bare(t)
	l.Cluster(t)
	for _, test := range []struct {
		name string
		play func(*testing.T, *lab.Lab)
	}{
		{"create takes no answer for no", createTakesNoAnswerForNo},
		{"create asks what the seed asked", createAsksWhatTheSeedAsked},
		{"exec gives a real terminal", execGivesARealTerminal},
		{"a pull shows how far it is", aPullShowsHowFarItIs},
	} {
		t.Run(test.name, func(t *testing.T) { test.play(t, l) })
	}
}

func createAsksWhatTheSeedAsked(t *testing.T, l *lab.Lab) {
	term := open(t, l.Host(2), "ddocker", "create")
	var transcript strings.Builder
	for _, step := range []struct{ question, answer string }{
		{`Select one of types \(default: 0\): `, "\n"},
		{`Input the number of ports \(default: 1\): `, "\n"},
		{`Select one of types \(default: 0\): `, "7\n"}, // there is no image 7: asked again
		{`Select one of types \(default: 0\): `, "0\n"},
		{`Input Container name \(default: alice_\d{8}-\d{6}\): `, "abc\n"},
	} {
		transcript.WriteString(term.expect(step.question))
		term.types(step.answer)
	}
	transcript.WriteString(term.expect(`Successfully created!\n`))
	if code := term.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := regexp.MustCompile(`(?s)^Service types\.
0 : 1 CPU, 1 GB
1 : 2 CPUS, 1 GB
2 : 1 CPU, 1 GB, 1 TITAN XP
Select one of types \(default: 0\): 
Input the number of ports \(default: 1\): 
Docker Images\.
0 : busybox:latest
Select one of types \(default: 0\): 7
.*Select one of types \(default: 0\): 0
Input Container name \(default: alice_\d{8}-\d{6}\): abc
Start to create
abc
Successfully created!
$`)
	if got := transcript.String(); !want.MatchString(got) {
		t.Errorf("the transcript is\n%s", got)
	}
	ps := l.Host(3).DDocker(t, "ps")
	if !regexp.MustCompile(`(?m)^abc +0\.0\.0\.0:25000->25000/tcp +busybox:latest .* 1 cpus,1g mem +True`).MatchString(ps) {
		t.Errorf("ps shows\n%s", ps)
	}
}

func createTakesNoAnswerForNo(t *testing.T, l *lab.Lab) {
	t.Run("the end of the input", func(t *testing.T) {
		term := open(t, l.Host(1), "ddocker", "create")
		term.expect(`Select one of types \(default: 0\): `)
		term.types("\x04")
		if code := term.code(); code != 125 {
			t.Errorf("exit code %d, want 125", code)
		}
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		term := open(t, l.Host(1), "ddocker", "create")
		term.expect(`Select one of types \(default: 0\): `)
		term.types("\x03")
		if code := term.code(); code == 0 {
			t.Error("exit code 0")
		}
	})
	if left := l.Host(2).DDocker(t, "ps", "-aq"); left != "" {
		t.Errorf("something was created: %s", left)
	}
}

func execGivesARealTerminal(t *testing.T, l *lab.Lab) {
	l.Host(1).DDocker(t, "create", "--cpus", "0.1", "--ports", "0", "--name", "shell", "busybox")
	for _, h := range l.Hosts() { // the holder is one of them, two are not
		t.Run("from "+h.Name(), func(t *testing.T) {
			term := open(t, h, "ddocker", "exec", "shell")
			term.expect(`/ # `)
			term.types("stty size\n")
			term.expect(`^24 80$`)
			if err := pty.Setsize(term.screen, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
				t.Fatal(err)
			}
			// The new size travels beside the keys: ask until it has come.
			term.types("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo resi''zed\n")
			term.expect(`^resized$`)
			// What the keys are to stop says itself that it is there: the shell gives a program
			// the terminal only a moment after it has begun with the line.
			term.types("sh -c 'echo rea\"\"dy; exec sleep 1000'\n")
			term.expect(`^ready$`)
			term.types("\x03")
			term.expect(`/ # `)
			term.types("exit 42\n")
			if code := term.code(); code != 42 {
				t.Errorf("exit code %d, want 42", code)
			}
		})
	}
}

func aPullShowsHowFarItIs(t *testing.T, l *lab.Lab) {
	keepCopies(t, l, 1)
	makeImage(t, l.Host(1), "random", 20)
	for _, client := range [][]string{{"ddocker"}, {"docker", "-H", l.Host(3).Agent()}} {
		t.Run(client[0], func(t *testing.T) {
			l.Host(3).Slow(t, "80mbit")
			term := open(t, l.Host(3), append(client, "pull", "random")...)
			term.expect(`^latest: Pulling from library/random$`)
			term.expect(`[0-9a-f]{12}: Downloading +[\d.]+[kM]B/20\.97MB`)
		})
	}
}
