//go:build release

// Package release upgrades a cluster of the release before this one, host by host, on
// machines with real Docker Engines.
package release

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

// beforeTags is what stands for the release before the first that has a tag.
const beforeTags = "ffe39a7"

// Hosts are upgraded one by one, the one that has led last: all the while each kind of
// host serves each kind of client, and what the older ones could not read is refused by
// their names.
func TestAClusterOfTheReleaseBeforeIsUpgradedHostByHost(t *testing.T) {
	old, current := built(t, previous(t)), built(t, "")
	t.Setenv("DDOCKER_BIN", old)
	l := lab.Up(t, 3)
	l.Cluster(t)
	first := l.Host(1)
	first.DDocker(t, "create", "--type", "0", "--ports", "1", "--name", "before", "busybox", "sleep", "1d")
	for _, i := range []int{2, 3, 1} {
		h := l.Host(i)
		t.Setenv("DDOCKER_BIN", current)
		h.StopAgent(t)
		h.StartAgent(t)
		for _, other := range l.Hosts() {
			eventually(t, other.Name()+" sees three hosts", func() string {
				if out := other.Run("ddocker", "nodes").Stdout; strings.Count(out, "alive") != 3 {
					return out
				}
				return ""
			})
		}
		serves(t, h, old, fmt.Sprintf("old-%d", i))
		serves(t, l.Host(i%3+1), current, fmt.Sprintf("new-%d", i))
		if i != 1 {
			refusesByName(t, l, h)
		}
	}
	eventually(t, "what is new can be done", func() string {
		if r := hide(t, l, first); r.Code != 0 {
			return r.Stderr
		}
		return ""
	})
	for _, h := range l.Hosts() {
		if out := h.DDocker(t, "exec", "before", "echo", "lives"); !strings.Contains(out, "lives") {
			t.Errorf("%s: the container from before says %q", h.Name(), out)
		}
	}
}

// serves has a client of that program make a container by way of the host, see it and
// remove it.
func serves(t *testing.T, h *lab.Host, program, name string) {
	t.Helper()
	t.Setenv("DDOCKER_BIN", program)
	h.DDocker(t, "create", "--type", "0", "--ports", "1", "--name", name, "busybox", "sleep", "1d")
	if out := h.DDocker(t, "ps"); !strings.Contains(out, name) || !strings.Contains(out, "before") {
		t.Errorf("%s, after %s was made: ps says\n%s", h.Name(), name, out)
	}
	if out := h.DDocker(t, "exec", name, "echo", "here"); !strings.Contains(out, "here") {
		t.Errorf("%s: %s says %q", h.Name(), name, out)
	}
	h.DDocker(t, "stop", name)
	h.DDocker(t, "rm", name)
}

// hide has users see only what is their own, which the release before knew nothing of.
func hide(t *testing.T, l *lab.Lab, h *lab.Host) lab.Result {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Dir, "info.json"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "info.json")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "{", `{"visibility": "own",`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.Run("ddocker", "config", "apply", file)
}

func refusesByName(t *testing.T, l *lab.Lab, h *lab.Host) {
	t.Helper()
	if r := hide(t, l, h); r.Code == 0 || !strings.Contains(r.Stderr, "upgrade it on") || !strings.Contains(r.Stderr, "h1") {
		t.Errorf("%s, with older hosts beside it: config apply ends with %d\n%s", h.Name(), r.Code, r.Stderr)
	}
}

// eventually waits until wrong says nothing.
func eventually(t *testing.T, what string, wrong func() string) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		said := wrong()
		if said == "" {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("not within 30 s: %s\n%s", what, said)
		}
	}
}

// previous is the newest tag before this state of the program, else beforeTags.
func previous(t *testing.T) string {
	t.Helper()
	ref := beforeTags
	if out, err := exec.Command("git", "describe", "--tags", "--abbrev=0", "HEAD^").Output(); err == nil {
		ref = strings.TrimSpace(string(out))
	}
	if err := exec.Command("git", "cat-file", "-e", ref+"^{commit}").Run(); err != nil {
		fmt.Fprintf(os.Stderr, "test/release: THE RELEASE BEFORE WAS NOT TRIED: this repository's history has no %s\n", ref)
		t.Skip("the repository's history is not deep enough: git fetch --unshallow --tags")
	}
	return ref
}

// built builds the program as it was at ref, or as it is, and returns its path.
func built(t *testing.T, ref string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin, source := filepath.Join(dir, "ddocker"), root
	if ref != "" {
		source = filepath.Join(dir, "source")
		run(t, root, "sh", "-c", "mkdir "+source+" && git archive "+ref+" | tar -xC "+source)
	}
	run(t, source, "go", "build", "-trimpath", "-o", bin, ".")
	return bin
}

func run(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_CFLAGS=-Wno-deprecated-declarations")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
