package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain lets this binary play ssh, when it is called by that name: it runs the
// remote command in its own process, on a host called gpu1 alone.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "ssh" {
		os.Exit(m.Run())
	}
	remote := strings.Fields(os.Args[len(os.Args)-1])
	if host := os.Args[len(os.Args)-2]; host != "gpu1" || remote[0] != "ddocker" {
		fmt.Fprintf(os.Stderr, "ssh: Could not resolve hostname %s\n", host)
		os.Exit(255)
	}
	os.Exit(Execute(context.Background(), Env{
		Args: remote[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: func(string) string { return "" },
	}))
}

func TestAnAgentIsReachedThroughSSH(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "ssh")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	g := newAgent(t)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[{"Name":"h1"}]`)
	g.answers("GET /containers/a/top", http.StatusOK, `{"Titles":["PID"],"Processes":[["1"]]}`)
	through := "ssh://alice@gpu1" + g.socket
	g.runs(t, "", "-H", through, "nodes", "-q").wants(t, 0, "h1\n")
	g.runs(t, "", "-H", "ssh://gpu2,"+through, "top", "a").wants(t, 0, "PID\n1\n")
	g.runs(t, "", "-H", "ssh://gpu2", "top", "a").wants(t, 1, "",
		"Error: cannot reach the ddocker agent at ssh://gpu2: ssh: Could not resolve hostname gpu2\n")
	g.runs(t, "", "-H", "ssh://gpu1/nosuch", "nodes").wants(t, 1, "",
		"Error: cannot reach the ddocker agent at ssh://gpu1/nosuch: cannot reach the ddocker agent at unix:///nosuch: is it running?")
}

func TestSSHMayAskForAPassphrase(t *testing.T) {
	e := endpoint{network: "ssh", address: "gpu1"}
	for typing, want := range map[time.Duration]string{
		20 * time.Second: "",
		40 * time.Second: "cannot reach the ddocker agent at ssh://gpu1: no answer within 30s",
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			go func() {
				http.ReadRequest(bufio.NewReader(there))
				time.Sleep(typing)
				io.WriteString(there, "HTTP/1.1 200 OK\r\n\r\n")
			}()
			ctx, cancel := context.WithTimeout(t.Context(), e.patience())
			defer cancel()
			got := ""
			if err := greet(ctx, here); err != nil {
				got = e.explain(err)
			}
			here.Close()
			time.Sleep(typing)
			if got != want {
				t.Errorf("typed for %v: %q, want %q", typing, got, want)
			}
		})
	}
}
