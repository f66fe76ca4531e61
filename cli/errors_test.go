package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestACommandLineThatIsWrongLeavesWithDockersCode(t *testing.T) {
	g := newAgent(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"ps --bad", 125, "Error: unknown flag: --bad\n\nUsage:  ddocker ps [OPTIONS]\n\nRun 'ddocker ps --help' for more information\n"},
		{"ps extra", 1, "Error: 'ddocker ps' accepts no arguments\n\nUsage:  ddocker ps [OPTIONS]\n\n"},
		{"rm", 1, "Error: 'ddocker rm' requires at least 1 argument\n"},
		{"commit a", 1, "Error: 'ddocker commit' requires 2 arguments\n"},
		{"logs a b", 1, "Error: 'ddocker logs' requires 1 argument\n"},
		{"foo", 1, "Error: unknown command: ddocker foo\n\nRun 'ddocker --help' for more information\n"},
		{"raft statsu", 1, "Error: unknown command: ddocker raft statsu, did you mean status?\n"},
		{"-H ftp://h1 ps", 1, `Error: "ftp://h1" is not a host: write a socket's path`},
	} {
		g.runs(t, "", strings.Fields(c.args)...).wants(t, c.code, "", c.want)
	}
}

func TestAnAgentThatIsNotThereIsToldOnce(t *testing.T) {
	for _, args := range []string{"ps", "images", "rm a b c", "logs a", "nodes", "exec a ls", "create --type x --ports 0 --name a b"} {
		r := execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "unix:///nosuch.sock"}, strings.Fields(args)...)
		r.stderr = strings.TrimPrefix(r.stderr, "Start to create\n")
		const want = "Error: cannot reach the ddocker agent at unix:///nosuch.sock: is it running? Start it with \"sudo ddocker agent\"\n"
		if r.code == 0 || r.stdout != "" || r.stderr != want {
			t.Errorf("%s: exit code %d, stdout %q, stderr:\n%s\nwant:\n%s", args, r.code, r.stdout, r.stderr, want)
		}
	}
}

func TestAConnectionThatBreaksIsTold(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, args := range []string{"ps", "logs a"} {
		g.runs(t, "", strings.Fields(args)...).wants(t, 1, "", "Error: the ddocker agent broke the connection off (EOF): see what came of it")
	}
}

func TestAnAgentThatHangsIsTold(t *testing.T) {
	hung := &url.Error{Op: "Get", URL: "http://ddocker/v1.47/containers/json", Err: context.DeadlineExceeded}
	if got := describe(fmt.Errorf("list: %w", hung)); !strings.HasPrefix(got, "the ddocker agent did not answer in time") {
		t.Error(got)
	}
}

func TestAnExtraCommandSpeaksForItself(t *testing.T) {
	other := &url.Error{Op: "Post", URL: "https://gpu1:7722/join", Err: context.DeadlineExceeded}
	extra := &cobra.Command{Use: "agent", RunE: func(*cobra.Command, []string) error { return fmt.Errorf("join gpu1: %w", other) }}
	var stderr strings.Builder
	code := Execute(t.Context(), Env{Args: []string{"agent"}, Stdin: unread{t}, Stdout: io.Discard, Stderr: &stderr,
		Getenv: func(string) string { return "" }, Extra: []*cobra.Command{extra}})
	if want := "Error: join gpu1: Post \"https://gpu1:7722/join\": context deadline exceeded\n"; code != 1 || stderr.String() != want {
		t.Errorf("exit code %d, stderr %q, want %q", code, &stderr, want)
	}
}

func TestARefusalThatIsNotJSONIsShownAsItIs(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/nodes", http.StatusServiceUnavailable, "no leader: 2 of 3 voters are down\n")
	g.answers("GET /ddocker/raft", http.StatusBadGateway, "")
	g.runs(t, "", "nodes").wants(t, 1, "", "Error: no leader: 2 of 3 voters are down\n")
	g.runs(t, "", "raft", "status").wants(t, 1, "", "Error: 502 Bad Gateway\n")
}

func TestHelpIsTheSeedsAndMore(t *testing.T) {
	g := newAgent(t)
	r := g.runs(t, "", "--help")
	if r.code != 0 || !strings.HasPrefix(r.stdout, seedHelp) || !strings.Contains(r.stdout, "\n  ddocker nodes  ") {
		t.Errorf("exit code %d:\n%s", r.code, r.stdout)
	}
	from := 0
	for _, title := range []string{"\nImage commands:\n", "\n  ddocker tag ", "\nCluster commands:\n", "\n  ddocker token ", "\nMore commands:\n", "\n  ddocker version ", "\nOptions:\n"} {
		at := strings.Index(r.stdout[from:], title)
		if at < 0 {
			t.Fatalf("%q is not where it should be:\n%s", title, r.stdout)
		}
		from += at
	}
	if bare := g.runs(t, ""); bare != r {
		t.Errorf("without arguments: %+v", bare)
	}
	g.runs(t, "", "--version").wants(t, 0, "ddocker version 1.2.3\n")
	g.runs(t, "", "stop", "--help").wants(t, 0, `Usage:  ddocker stop [OPTIONS] CONTAINER [CONTAINER...]

Stop one or more running containers

Examples:
  ddocker stop abc def
  ddocker stop -t 60 abc

Options:
  -t, --timeout int   Seconds to wait before killing the container (-1: for
                      ever; default: its own, or 10)

Global options:
      --help          Print usage
  -H, --host string   Agent to speak to: a socket's path, HOST[:PORT] over TLS,
                      or ssh://HOST; of several, comma-separated, the first that
                      is up
`)
}

func TestEveryCommandAndFlagIsExplained(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || (c.Args == nil && c.Runnable()) {
			t.Errorf("%s lacks a description or a check of its arguments", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s is not described", c.CommandPath(), f.Name)
			}
		})
		for _, line := range strings.Split(commandHelp(c), "\n") {
			if len([]rune(line)) > helpColumns+2 {
				t.Errorf("%s: a line of help is too long: %s", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(&app{Env: Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard}}))
}
