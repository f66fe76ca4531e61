//go:build clients

package docker

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// clients is where build.sh put what Debian does not have.
func clients(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DDOCKER_CLIENTS")
	if dir == "" {
		t.Fatal("no clients to test: run make test-docker, or set DDOCKER_CLIENTS to where test/docker/build.sh put them")
	}
	return dir
}

func TestCompose(t *testing.T) {
	from := clients(t)
	run(t, "compose", func(ctx context.Context, s side, dir string) ([]step, error) {
		return shell(ctx, s, "testdata/compose.txt", dir, "CLIENTS="+from)
	})
}

// The reaper that testcontainers starts would have to be pulled. Published ports are
// dialled on the host where the client runs, also where that looks like a container.
func TestTestcontainers(t *testing.T) {
	from := clients(t)
	run(t, "testcontainers", func(ctx context.Context, s side, dir string) ([]step, error) {
		return program(ctx, s, dir, "env", "TESTCONTAINERS_RYUK_DISABLED=true", "TESTCONTAINERS_HOST_OVERRIDE=localhost", filepath.Join(from, "testcontainers"))
	})
}

// TestDockerCommands runs a short script with the docker commands of several years:
// Debian's 20.10 and what was built.
func TestDockerCommands(t *testing.T) {
	from := clients(t)
	run(t, "commands", func(ctx context.Context, s side, dir string) ([]step, error) {
		var all []step
		for _, program := range []string{"/usr/bin/docker", filepath.Join(from, "docker-24"), filepath.Join(from, "docker-27"), filepath.Join(from, "docker-29")} {
			name := filepath.Base(program)
			steps, err := shell(ctx, s, "testdata/commands.txt", filepath.Join(dir, name), "DOCKER="+program)
			for _, one := range steps {
				one.name = name + ": " + one.name
				all = append(all, one)
			}
			if err != nil {
				return all, err
			}
		}
		return all, nil
	})
}
