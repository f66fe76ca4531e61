package cli

import (
	"fmt"
	"net"
	"strings"

	"github.com/docker/cli/cli/connhelper/ssh"
)

const (
	defaultSocket = "/run/ddocker/ddocker.sock"
	defaultPort   = "7722"
)

// endpoint is one place where an agent may be listening.
type endpoint struct {
	network string // unix; tcp, which is always spoken with TLS; or ssh
	address string // a path, host:port, or [USER@]HOST[:PORT][/PATH]
}

func (e endpoint) String() string { return e.network + "://" + e.address }

// hosts returns the agents to try, in order, from the first of -H,
// DDOCKER_HOST, DOCKER_HOST, a login and the local agent's socket that is given.
func (a *app) hosts() ([]endpoint, error) {
	return parseHosts(firstOf(a.host, a.Getenv("DDOCKER_HOST"), a.Getenv("DOCKER_HOST"), a.loggedIn(), defaultSocket))
}

func parseHosts(list string) ([]endpoint, error) {
	var found []endpoint
	for text := range strings.SplitSeq(list, ",") {
		e, err := parseHost(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

func parseHost(text string) (endpoint, error) {
	scheme, rest, hasScheme := strings.Cut(text, "://")
	switch {
	case hasScheme && scheme == "unix" && rest != "":
		return endpoint{"unix", rest}, nil
	case hasScheme && scheme == "tcp" && rest != "":
		return tcpEndpoint(strings.TrimSuffix(rest, "/")), nil
	case hasScheme && scheme == "ssh" && rest != "":
		if _, err := ssh.ParseURL(text); err != nil {
			return endpoint{}, fmt.Errorf("%q is not a host: %w", text, err)
		}
		return endpoint{"ssh", rest}, nil
	case !hasScheme && strings.Contains(text, "/"):
		return endpoint{"unix", text}, nil
	case !hasScheme && text != "":
		return tcpEndpoint(text), nil
	}
	return endpoint{}, fmt.Errorf("%q is not a host: write a socket's path, unix://PATH, HOST[:PORT], tcp://HOST[:PORT] or ssh://[USER@]HOST", text)
}

func tcpEndpoint(address string) endpoint {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), defaultPort)
	}
	return endpoint{"tcp", address}
}
