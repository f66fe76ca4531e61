package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/docker/cli/cli/connhelper/commandconn"
	"github.com/docker/cli/cli/connhelper/ssh"
)

// sshTimeout bounds what the user's ssh may take until an agent answers through it:
// it may ask for a passphrase.
const sshTimeout = 30 * time.Second

// dialSSH connects through the user's own ssh, to the agent on that host or to the
// socket there that e names. What speaks to the socket there is "ddocker system
// dial-stdio", which docker has by the same name.
func dialSSH(ctx context.Context, e endpoint) (net.Conn, error) {
	host, err := ssh.ParseURL(e.String())
	if err != nil {
		return nil, err
	}
	socket := host.Path
	if strings.Trim(socket, "/") == "" {
		socket = defaultSocket
	}
	args, err := host.Command([]string{"-T", "-o", fmt.Sprintf("ConnectTimeout=%.0f", dialTimeout.Seconds())},
		"ddocker", "-H", socket, "system", "dial-stdio")
	if err != nil {
		return nil, err
	}
	conn, err := commandconn.New(ctx, "ssh", args...)
	if err != nil {
		return nil, err
	}
	if err := greet(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// greet waits until an agent answers at the other end, for the start of ssh says
// nothing about that.
func greet(ctx context.Context, conn net.Conn) error {
	done := make(chan error, 1)
	go func() { done <- ping(conn) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err != nil {
			// commandconn tells much of its own; what ssh said stands at the end.
			if _, said, ok := strings.Cut(err.Error(), "stderr="); ok && strings.TrimSpace(said) != "" {
				return errors.New(strings.TrimPrefix(strings.TrimSpace(said), "Error: "))
			}
		}
		return err
	}
}

func ping(conn net.Conn) error {
	request, err := http.NewRequest(http.MethodHead, "http://"+agentName+"/_ping", nil)
	if err != nil {
		return err
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
