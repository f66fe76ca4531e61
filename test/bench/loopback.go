package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"ddocker/engine/enginetest"
	"ddocker/test/lab"
)

// loopback is three agents on this machine, each beside an engine in memory: the
// whole program, and Docker takes no time.
type loopback struct {
	agents  []*site // leader first
	dir     string
	end     context.CancelFunc
	engines sync.WaitGroup
	running []*exec.Cmd
	asked   sync.Map // when an engine was asked for a container, by its name
}

func newLoopback(ctx context.Context, bin, dir string) (l *loopback, err error) {
	l = &loopback{dir: dir}
	ctx, l.end = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			l.stop()
		}
	}()
	var join []string
	for i := range 3 {
		name := fmt.Sprintf("n%d", i)
		if err := l.serveEngine(ctx, name); err != nil {
			return nil, err
		}
		at, err := freePort()
		if err != nil {
			return nil, err
		}
		if err := l.startAgent(ctx, bin, name, at, join); err != nil {
			return nil, err
		}
		if i == 0 {
			token, err := exec.CommandContext(ctx, bin, "-H", "unix://"+l.socket(name), "token").Output()
			if err != nil {
				return nil, fmt.Errorf("make a token: %w", err)
			}
			join = []string{"--join", at, "--token", strings.TrimSpace(string(token))}
		}
	}
	return l, leaderFirst(ctx, l.agents)
}

func (l *loopback) path(name, file string) string { return filepath.Join(l.dir, name+"."+file) }
func (l *loopback) socket(name string) string     { return l.path(name, "sock") }

func (l *loopback) serveEngine(ctx context.Context, name string) error {
	twin := enginetest.New(enginetest.Config{Name: name, NCPU: 16, Memory: 64 << 30})
	twin.AddImage(busybox)
	ln, err := net.Listen("unix", l.path(name, "engine"))
	if err != nil {
		return err
	}
	l.engines.Go(func() { twin.Serve(ctx, watched{ln, &l.asked}) })
	return nil
}

// freePort returns an address of loopback that nobody listens on.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func (l *loopback) startAgent(ctx context.Context, bin, name, at string, join []string) error {
	logs, err := os.Create(l.path(name, "log"))
	if err != nil {
		return err
	}
	defer logs.Close()
	args := []string{
		"agent", "--name", name, "--listen", at, "--advertise", at, "--data-dir", l.path(name, "state"),
		"--socket", l.socket(name), "--docker-host", "unix://" + l.path(name, "engine"),
	}
	cmd := exec.Command(bin, append(args, join...)...)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	l.running = append(l.running, cmd)
	agent, err := newSite(name, "unix://"+l.socket(name))
	if err != nil {
		return err
	}
	l.agents = append(l.agents, agent)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = lab.Poll(ctx, func() error { _, err := agent.nodes(ctx); return err })
	if err != nil {
		text, _ := os.ReadFile(logs.Name())
		return fmt.Errorf("start agent %s: %w\n%s", name, err, text)
	}
	return nil
}

// stop ends the agents, then their engines.
func (l *loopback) stop() (err error) {
	for _, cmd := range l.running {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, cmd := range l.running {
		err = errors.Join(err, cmd.Wait())
	}
	l.end()
	l.engines.Wait()
	return err
}

// watched notes when the engine behind a listener is asked to create a container:
// then the container's place is decided and has reached its host.
type watched struct {
	net.Listener
	asked *sync.Map
}

// Accept waits for the next connection.
func (w watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	return &watchedConn{c, w.asked}, err
}

type watchedConn struct {
	net.Conn
	asked *sync.Map
}

// Read reads, and looks for the first line of a create. A request comes in one piece.
func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	line, _, _ := bytes.Cut(p[:n], []byte(" HTTP/"))
	if _, name, ok := bytes.Cut(line, []byte("/containers/create?name=")); ok {
		c.asked.Store(string(name), time.Now())
	}
	return n, err
}
