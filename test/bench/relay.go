package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"ddocker/test/lab"
)

const (
	relayed     = 1 << 30 // bytes
	relayedPort = "7999"
)

// relay measures how fast bytes come from a published port of another host.
func (b *bench) relay(ctx context.Context, c *cluster) (err error) {
	serve := sleeper(c.far())
	serve.Cmd = []string{"nc", "-ll", "-p", "80", "-e", "dd", "if=/dev/zero", "bs=64k", fmt.Sprint("count=", relayed>>16)}
	serve.ExposedPorts = nat.PortSet{"80/tcp": {}}
	published := &container.HostConfig{PortBindings: nat.PortMap{"80/tcp": {{HostPort: relayedPort}}}}
	if _, err := c.entry().ContainerCreate(ctx, serve, published, nil, nil, "served"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.clear(context.WithoutCancel(ctx))) }()
	if err := c.entry().ContainerStart(ctx, "served", container.StartOptions{}); err != nil {
		return err
	}
	there, err := c.address(c.far())
	if err != nil {
		return err
	}
	here, err := c.address(c.entry().name)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, at := range []string{there, here} {
		if err := lab.Poll(waiting, func() error { return fetched(at, 1) }); err != nil {
			return err
		}
	}
	var direct, through sample
	for i := range b.n + 1 {
		err := errors.Join(
			timed(&through, func() error { return fetched(here, relayed) }),
			timed(&direct, func() error { return fetched(there, relayed) }),
		)
		if err != nil {
			return err
		}
		if i == 0 {
			direct, through = sample{}, sample{}
		}
	}
	b.faster("published port: 1 GB through a node that relays it ÷ from the holder", relayed, through, direct, 0)
	return nil
}

// address is where a host's relayed port is.
func (c *cluster) address(host string) (string, error) {
	at, err := os.ReadFile(filepath.Join(c.lab.Dir, host, "address"))
	return net.JoinHostPort(strings.TrimSpace(string(at)), relayedPort), err
}

// fetched reads n bytes from an address.
func fetched(at string, n int64) error {
	conn, err := net.DialTimeout("tcp", at, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, conn, n)
	return err
}
