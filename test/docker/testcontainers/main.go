// Command testcontainers does with testcontainers-go what tests of others do with it,
// against whatever DOCKER_HOST is, and prints one object a step.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

// step prints what a step gives, or how it fails.
func step[T any](name string, do func() (T, error)) T {
	value, err := do()
	out := map[string]any{"step": name, "value": value}
	if err != nil {
		out = map[string]any{"step": name, "error": err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, name, err)
		os.Exit(1)
	}
	return value
}

// done is for steps that give nothing.
func done(name string, do func() error) {
	step(name, func() (string, error) { return "done", do() })
}

// started is for steps that start a container.
func started(name string, do func() (*testcontainers.DockerContainer, error)) *testcontainers.DockerContainer {
	var c *testcontainers.DockerContainer
	done(name, func() (err error) { c, err = do(); return err })
	return c
}

// end removes a container without waiting for it to end by itself.
func end(c testcontainers.Container) error {
	return testcontainers.TerminateContainer(c, testcontainers.StopTimeout(0))
}

// serve answers every connection to a port with one word.
func serve(word, port string) []string {
	return []string{"sh", "-c", "echo serving; while true; do echo " + word + " | nc -l -p " + port + "; done"}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	hold(ctx)
	served(ctx)
	waits(ctx)
	inside(ctx)
	networks(ctx)
	done("hold gone", func() error { return end(holder) })
}

// holder leaves no room on the node that is asked, if there are others.
var holder testcontainers.Container

func hold(ctx context.Context) {
	holder = started("hold", func() (*testcontainers.DockerContainer, error) {
		return testcontainers.Run(ctx, "busybox", testcontainers.WithCmd("sleep", "10000"),
			testcontainers.WithLabels(map[string]string{"ddocker.node": "h2"}),
			testcontainers.WithHostConfigModifier(func(h *container.HostConfig) { h.CpusetCpus = fmt.Sprintf("0-%d", runtime.NumCPU()-1) }))
	})
}

// dial reads what a published port says, on the host that the library names.
func dial(ctx context.Context, c testcontainers.Container, port string) (string, error) {
	host, err := c.Host(ctx)
	if err != nil {
		return "", err
	}
	mapped, err := c.MappedPort(ctx, port)
	if err != nil {
		return "", err
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, mapped.Port()), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	return string(text), err
}

func served(ctx context.Context) {
	c := started("a port is waited for", func() (*testcontainers.DockerContainer, error) {
		return testcontainers.Run(ctx, "busybox", testcontainers.WithCmd(serve("served", "80")...), testcontainers.WithExposedPorts("80/tcp"),
			testcontainers.WithWaitStrategy(wait.ForAll(wait.ForLog("serving"), wait.ForListeningPort("80/tcp")).WithDeadline(30*time.Second)))
	})
	if c == nil {
		return
	}
	defer done("terminate", func() error { return end(c) })
	step("host", func() (string, error) { return c.Host(ctx) })
	step("dial", func() (string, error) { return dial(ctx, c, "80/tcp") })
	step("state", func() (any, error) {
		s, err := c.State(ctx)
		if err != nil {
			return nil, err
		}
		return []any{s.Status, s.Running, s.ExitCode}, nil
	})
	step("endpoint", func() (bool, error) {
		e, err := c.Endpoint(ctx, "http")
		return strings.HasPrefix(e, "http://"), err
	})
	step("logs", func() (string, error) {
		r, err := c.Logs(ctx)
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		return string(text), err
	})
	done("stop", func() error { wait := time.Duration(0); return c.Stop(ctx, &wait) })
	step("not running", func() (bool, error) { return c.IsRunning(), nil })
	done("start", func() error { return c.Start(ctx) })
	step("dial again", func() (string, error) { return dial(ctx, c, "80/tcp") })
}

func waits(ctx context.Context) {
	run := func(name string, more ...testcontainers.ContainerCustomizer) {
		c := started(name, func() (*testcontainers.DockerContainer, error) { return testcontainers.Run(ctx, "busybox", more...) })
		done(name+": terminate", func() error { return end(c) })
	}
	run("waits for its end", testcontainers.WithCmd("sh", "-c", "exit 0"), testcontainers.WithWaitStrategy(wait.ForExit().WithExitTimeout(20*time.Second)))
	run("waits for a command", testcontainers.WithCmd("sleep", "1000"), testcontainers.WithWaitStrategy(wait.ForExec([]string{"true"})))
	run("waits for a file", testcontainers.WithCmd("sh", "-c", "echo x >/there; sleep 1000"), testcontainers.WithWaitStrategy(wait.ForFile("/there").WithStartupTimeout(20*time.Second)))
	run("waits in vain", testcontainers.WithCmd("sleep", "1000"), testcontainers.WithWaitStrategy(wait.ForLog("never").WithStartupTimeout(time.Second)))
	run("no such command", testcontainers.WithCmd("nosuch"))
	done("no such image", func() error { _, err := testcontainers.Run(ctx, "127.0.0.1:1/nosuch:none"); return err })
}

func inside(ctx context.Context) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		dir = os.TempDir()
	}
	file := filepath.Join(dir, "file")
	done("write", func() error { return os.WriteFile(file, []byte("from the host\n"), 0o640) })
	c := started("files at the start", func() (*testcontainers.DockerContainer, error) {
		return testcontainers.Run(ctx, "busybox", testcontainers.WithCmd("sh", "-c", "cat /early; sleep 1000"), testcontainers.WithEnv(map[string]string{"A": "1"}),
			testcontainers.WithFiles(testcontainers.ContainerFile{HostFilePath: file, ContainerFilePath: "/early", FileMode: 0o600}),
			testcontainers.WithWaitStrategy(wait.ForLog("from the host")))
	})
	if c == nil {
		return
	}
	defer done("inside: terminate", func() error { return end(c) })
	step("exec", func() (any, error) {
		code, out, err := c.Exec(ctx, []string{"sh", "-c", "echo $A; echo err >&2; exit 4"}, exec.Multiplexed())
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(out)
		return []any{code, string(text)}, err
	})
	done("copy", func() error { return c.CopyToContainer(ctx, []byte("bytes\n"), "/late", 0o644) })
	done("copy a file", func() error { return c.CopyFileToContainer(ctx, file, "/later", 0o600) })
	done("copy a directory", func() error { return c.CopyDirToContainer(ctx, dir, "/dir", 0o700) })
	step("copy back", func() (string, error) {
		r, err := c.CopyFileFromContainer(ctx, "/late")
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		return string(text), err
	})
	done("copy back nothing", func() error { _, err := c.CopyFileFromContainer(ctx, "/nosuch"); return err })
	step("inspect", func() (any, error) {
		i, err := c.Inspect(ctx)
		if err != nil {
			return nil, err
		}
		var labels []string
		for key := range i.Config.Labels {
			labels = append(labels, key)
		}
		slices.Sort(labels)
		return labels, nil
	})
}

func networks(ctx context.Context) {
	var n *testcontainers.DockerNetwork
	done("network", func() (err error) { n, err = network.New(ctx); return err })
	if n == nil {
		return
	}
	defer done("network: remove", func() error { return n.Remove(ctx) })
	server := started("server", func() (*testcontainers.DockerContainer, error) {
		return testcontainers.Run(ctx, "busybox", testcontainers.WithCmd(serve("by name", "90")...), network.WithNetwork([]string{"server"}, n))
	})
	defer done("server: terminate", func() error { return end(server) })
	step("client", func() (string, error) {
		c, err := testcontainers.Run(ctx, "busybox", network.WithNetwork(nil, n),
			testcontainers.WithCmd("sh", "-c", "until busybox nc -w 1 server 90 | busybox grep name; do sleep 0.1; done"),
			testcontainers.WithWaitStrategy(wait.ForExit().WithExitTimeout(20*time.Second)))
		defer end(c)
		if err != nil {
			return "", err
		}
		r, err := c.Logs(ctx)
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		return string(bytes.TrimSpace(text)), err
	})
}
