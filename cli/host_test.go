package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestAHostCanBeWrittenInManyWays(t *testing.T) {
	for text, want := range map[string]string{
		"/run/x.sock":         "unix:///run/x.sock",
		"./x.sock":            "unix://./x.sock",
		"unix:///run/x.sock":  "unix:///run/x.sock",
		"h1":                  "tcp://h1:7722",
		"h1:80":               "tcp://h1:80",
		"tcp://h1":            "tcp://h1:7722",
		"tcp://10.0.0.1:80/":  "tcp://10.0.0.1:80",
		"::1":                 "tcp://[::1]:7722",
		"[::1]:80":            "tcp://[::1]:80",
		"tcp://[fe80::1]":     "tcp://[fe80::1]:7722",
		"ssh://a@h1:22/s":     "ssh://a@h1:22/s",
		"h1, tcp://h2:80,/s ": "tcp://h1:7722 tcp://h2:80 unix:///s",
	} {
		hosts, err := parseHosts(text)
		var got []string
		for _, h := range hosts {
			got = append(got, h.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q means %q (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "unix://", "tcp://", "http://h1", "h1,,h2", "ssh://", "ssh://a:password@h1", "ssh://h1?x=y"} {
		if hosts, err := parseHosts(text); err == nil {
			t.Errorf("%q means %v, want an error", text, hosts)
		}
	}
}

func TestTheFlagGoesBeforeTheEnvironment(t *testing.T) {
	environment := map[string]string{}
	a := &app{Env: Env{Getenv: func(name string) string { return environment[name] }}}
	for _, step := range []struct {
		set  func()
		want string
	}{
		{func() {}, "unix:///run/ddocker/ddocker.sock"},
		{func() { environment["DOCKER_HOST"] = "/docker" }, "unix:///docker"},
		{func() { environment["DDOCKER_HOST"] = "/ddocker" }, "unix:///ddocker"},
		{func() { a.host = "/flag" }, "unix:///flag"},
	} {
		step.set()
		if got, err := a.hosts(); err != nil || got[0].String() != step.want {
			t.Errorf("got %v (%v), want %s", got, err, step.want)
		}
	}
}

func TestTheNextHostIsTriedWhenOneIsDown(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[{"Name":"h1"}]`)
	g.runs(t, "", "-H", "/nosuch.sock,"+g.socket, "nodes", "-q").wants(t, 0, "h1\n")
	g.runs(t, "", "nodes", "-q", "-H", "/nosuch.sock,/neither.sock").wants(t, 1, "",
		"unix:///nosuch.sock: is it running?", "; cannot reach the ddocker agent at unix:///neither.sock: is it running?")
}

func TestADialHoldsForTheNextOnes(t *testing.T) {
	g, asked := newAgent(t), 0
	missing := endpoint{"tcp", "nosuch.invalid:1"} // whose certificate is asked for, each time it is tried
	d := &dialer{
		hosts: func() ([]endpoint, error) { return []endpoint{missing, {"unix", g.socket}}, nil },
		tls:   func() (*tls.Config, error) { asked++; return nil, errors.New("none") },
	}
	for range 3 {
		conn, err := d.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if asked != 1 {
		t.Errorf("the host that is down was tried %d times", asked)
	}
	d = &dialer{hosts: func() ([]endpoint, error) { return []endpoint{missing}, nil }, tls: d.tls}
	for range 3 {
		if _, err := d.dial(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "cannot reach the ddocker agent at tcp://nosuch.invalid:1: none") {
			t.Errorf("it says %v", err)
		}
	}
	if asked != 2 {
		t.Errorf("the host that is down was tried %d times", asked-1)
	}
}

func TestAFailedConnectionSaysWhatToDo(t *testing.T) {
	local, remote := endpoint{"unix", "/s"}, endpoint{"tcp", "h1:7722"}
	for _, c := range []struct {
		at   endpoint
		err  error
		want string
	}{
		{local, syscall.EACCES, `no permission to use the ddocker agent at unix:///s: join its group with "sudo usermod -aG ddocker $USER" and log in again`},
		{local, syscall.ECONNREFUSED, `cannot reach the ddocker agent at unix:///s: is it running? Start it with "sudo ddocker agent"`},
		{remote, syscall.ECONNREFUSED, `cannot reach the ddocker agent at tcp://h1:7722: is it running? Start it there with "sudo ddocker agent"`},
		{remote, context.DeadlineExceeded, "cannot reach the ddocker agent at tcp://h1:7722: no answer within 5s"},
		{remote, os.NewSyscallError("connect", syscall.EHOSTUNREACH), "cannot reach the ddocker agent at tcp://h1:7722: no route to host"},
		{remote, &certificateError{syscall.ENOENT}, "cannot reach the ddocker agent at tcp://h1:7722: no such file or directory"},
	} {
		if got := c.at.explain(c.err); got != c.want {
			t.Errorf("%v: %s\nwant: %s", c.err, got, c.want)
		}
	}
}
