package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// composeAt is where make test-docker builds the compose command; this variable
	// names another place.
	composeAt, composeVariable = "bin/clients/docker-compose", "DDOCKER_COMPOSE"
	services                   = 5
)

// composeUp measures docker compose up.
func (b *bench) composeUp(ctx context.Context, c *cluster) error {
	const what = "docker compose up -d, 5 services and a network, through a non-leader ÷ plain engine"
	program := os.Getenv(composeVariable)
	if program == "" {
		program = composeAt
	}
	if _, err := exec.LookPath(program); err != nil {
		b.absent(what, "no compose client, run make test-docker first")
		return nil
	}
	var file strings.Builder
	file.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&file, "  s%d:\n    image: %s\n    command: sleep 100000\n    stop_grace_period: 0s\n", i, busybox)
	}
	path := filepath.Join(b.dir, "compose.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		return err
	}
	compose := func(s side, args ...string) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, append([]string{"-f", path, "-p", s.container}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+s.socket)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v on %s: %w\n%s", program, args, s.name, err, out)
		}
		return nil
	}
	far, plain := side{c.entry(), "up-far"}, side{c.plain[0], "up-plain"}
	var ours, theirs sample
	for i := range 2*b.n + 1 {
		sides := []side{far, plain}
		if i%2 == 1 {
			sides = []side{plain, far}
		}
		for _, s := range sides {
			took := &ours
			if s.site == plain.site {
				took = &theirs
			}
			if err := timed(took, func() error { return compose(s, "up", "-d") }); err != nil {
				return err
			}
			if err := compose(s, "down", "-t", "0"); err != nil {
				return err
			}
		}
		if i == 0 { // to warm up
			ours, theirs = sample{}, sample{}
		}
	}
	b.ratio(what, ours, theirs, 1.15)
	return nil
}
