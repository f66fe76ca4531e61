package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

const megabyte = 1 << 20

// TestABrokenTransferLeavesNothing breaks what a large image's way from host to host
// depends on, while it is on its way to h3.
func TestABrokenTransferLeavesNothing(t *testing.T) {
	l := bare(t)
	l.Cluster(t)
	keepCopies(t, l, 1)
	one, two, three := l.Host(1), l.Host(2), l.Host(3)
	makeImage(t, one, "big", 100)
	before := left(t, l, three)
	whole := func(t *testing.T) { lab.Eventually(t, time.Minute, func() error { return eachAlive(l) }) }

	t.Run("the only host that has it is unplugged: the create says so", func(t *testing.T) {
		creating := begin(t, three, 15*megabyte, createOn(three, three, "big")...)
		one.Cut(t)
		three.Mend(t)
		if r := <-creating; r.Code == 0 || !strings.Contains(r.Stderr, "no host could give image") || !strings.Contains(r.Stderr, "h1") {
			t.Errorf("exit code %d: %s", r.Code, r.Stderr)
		}
		nothing(t, l, three, before)
		one.Mend(t)
		whole(t)
	})

	t.Run("the receiver dies: its next agent clears up", func(t *testing.T) {
		creating := begin(t, three, 15*megabyte, createOn(two, three, "big")...)
		three.KillAgent(t)
		three.Mend(t)
		if r := <-creating; r.Code == 0 {
			t.Errorf("a create came to its end on a host without an agent: %s", r.Stdout)
		}
		three.StartAgent(t)
		whole(t)
		nothing(t, l, three, before)
	})

	t.Run("one of two hosts that have it dies: the other one goes on where it was", func(t *testing.T) {
		two.DDocker(t, "image", "replicate", "--hosts", "h2", "big")
		first, sent1, sent2 := received(t, three), sent(t, one), sent(t, two)
		creating := begin(t, three, 40*megabyte, createOn(three, three, "big")...)
		sender := one
		if sent(t, two)-sent2 > sent(t, one)-sent1 {
			sender = two
		}
		sender.KillAgent(t)
		three.Mend(t)
		if r := <-creating; r.Code != 0 {
			t.Errorf("exit code %d: %s", r.Code, r.Stderr)
		}
		if came := received(t, three) - first; came > 120*megabyte {
			t.Errorf("%d MiB came for an image of 100 MiB", came/megabyte)
		}
		sender.StartAgent(t)
		whole(t)
		id := func(h *lab.Host) string {
			return h.Docker(t, "inspect", "--type", "image", "--format", "{{.Id}} {{.RootFS.Layers}}", "big")
		}
		if here, there := id(three), id(one); here != there {
			t.Errorf("h3 has %s, h1 %s", here, there)
		}
	})
}

// TestAnImageMayBeRemovedWhileItMoves takes an image's name away, and gives it to
// another one, while it is on its way.
func TestAnImageMayBeRemovedWhileItMoves(t *testing.T) {
	l := bare(t)
	l.Cluster(t)
	keepCopies(t, l, 1)
	one, two, three := l.Host(1), l.Host(2), l.Host(3)
	makeImage(t, one, "moving", 60)
	before := left(t, l, three)
	pulling := begin(t, three, 10*megabyte, "ddocker", "pull", "moving")
	two.DDocker(t, "rmi", "moving")
	two.DDocker(t, "tag", "busybox", "moving")
	three.Mend(t)
	if r := <-pulling; r.Code == 0 {
		t.Errorf("an image came by a name that it does not have any more: %s", r.Stdout)
	}
	busybox := one.Docker(t, "images", "-q", "--no-trunc", "busybox")
	lab.Eventually(t, time.Minute, func() error {
		for _, h := range l.Hosts() {
			if all := strings.ReplaceAll(h.Docker(t, "images", "-aq", "--no-trunc"), busybox, ""); all != "" {
				return fmt.Errorf("%s has %s", h.Name(), all)
			}
		}
		return nil
	})
	nothing(t, l, three, before)
	if id := three.DDocker(t, "images", "-q", "--no-trunc", "moving"); id != busybox {
		t.Errorf("moving is %s, not %s", id, busybox)
	}
}

// TestAFullDiskTakesNoImage has a receiver whose engine has a small disk.
func TestAFullDiskTakesNoImage(t *testing.T) {
	t.Setenv("DDOCKER_LAB_DISKS", "h2=160m")
	l := lab.Up(t, 2)
	l.Cluster(t)
	keepCopies(t, l, 1)
	one, two := l.Host(1), l.Host(2)
	makeImage(t, one, "large", 100)
	makeImage(t, one, "small", 50)

	t.Run("an image that does not fit is refused before it comes", func(t *testing.T) {
		r := one.Run(createOn(one, two, "large")...)
		if r.Code == 0 || !strings.Contains(r.Stderr, "h2") || !strings.Contains(r.Stderr, "bringing the image needs 209.7MB") {
			t.Errorf("exit code %d: %s", r.Code, r.Stderr)
		}
		clean(t, l, two)
	})
	t.Run("another host takes the container", func(t *testing.T) {
		for _, name := range []string{"c1", "c2", "c3", "c4"} { // they spread where they can
			createAnywhere(t, one, name, "large")
			if on := holderOf(t, l, name).Name(); on != "h1" {
				t.Errorf("%s holds %s", on, name)
			}
		}
	})
	t.Run("a disk that fills up meanwhile", func(t *testing.T) {
		creating := begin(t, two, 10*megabyte, createOn(two, two, "small")...)
		two.Run("docker", "run", "--name", "filler", "busybox", "dd", "if=/dev/zero", "of=/full", "bs=64k")
		two.Mend(t)
		r := <-creating
		if r.Code == 0 || !strings.Contains(r.Stderr, "no space left on device") || !strings.Contains(r.Stderr, "h2") {
			t.Errorf("exit code %d: %s", r.Code, r.Stderr)
		}
		two.Docker(t, "rm", "-f", "filler")
		clean(t, l, two)
		if r := two.Run(createOn(two, two, "small")...); r.Code != 0 {
			t.Errorf("with room again: exit code %d: %s", r.Code, r.Stderr)
		}
	})
}

// createOn is a create, by the stock client through one host's agent, of a container
// on another host.
func createOn(through, on *lab.Host, image string) []string {
	return []string{"docker", "-H", through.Agent(), "create", "--label", "ddocker.node=" + on.Name(), image, "true"}
}

// createAnywhere creates a container as those clients do that do not pull by themselves.
func createAnywhere(t *testing.T, through *lab.Host, name, image string) {
	t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(through.Agent(), "unix://"))
		},
	}}
	body := fmt.Sprintf(`{"Image": %q, "Cmd": ["true"]}`, image)
	resp, err := client.Post("http://ddocker/v1.41/containers/create?name="+name, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("create %s: %s: %s (%v)", name, resp.Status, text, err)
	}
}

// begin slows the way into a host, runs a command there, and returns when so many
// bytes have come. It is the caller's to mend the host.
func begin(t *testing.T, to *lab.Host, bytes int64, args ...string) <-chan lab.Result {
	t.Helper()
	to.Slow(t, "200mbit")
	before, ended := received(t, to), make(chan lab.Result, 1)
	go func() { ended <- to.Run(args...) }()
	lab.Eventually(t, time.Minute, func() error {
		if came := received(t, to) - before; came < bytes {
			return fmt.Errorf("%d of %d bytes have come", came, bytes)
		}
		return nil
	})
	if len(ended) > 0 {
		t.Fatalf("it is over already: %+v", <-ended)
	}
	return ended
}

// received and sent are how many bytes the host's cable has carried.
func received(t *testing.T, h *lab.Host) int64 { t.Helper(); return carried(t, h, 0) }
func sent(t *testing.T, h *lab.Host) int64     { t.Helper(); return carried(t, h, 8) }

func carried(t *testing.T, h *lab.Host, column int) (bytes int64) {
	t.Helper()
	_, counts, found := strings.Cut(h.Run("cat", "/proc/net/dev").Stdout, "eth0:")
	if fields := strings.Fields(counts); !found || len(fields) < 9 {
		t.Fatalf("%s has no eth0", h.Name())
	} else if _, err := fmt.Sscan(fields[column], &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// keepCopies sets on how many hosts the cluster keeps each image, and waits until it
// can lose a host.
func keepCopies(t *testing.T, l *lab.Lab, n int) {
	t.Helper()
	change := fmt.Sprintf(`ddocker config show | sed 's/\("image_replicas": \)[0-9]*/\1%d/' | ddocker config apply -`, n)
	if r := l.Host(1).Run("sh", "-c", change); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	if len(l.Hosts()) < 3 {
		return
	}
	lab.Eventually(t, time.Minute, func() error {
		if roles := l.Host(1).DDocker(t, "nodes", "--format", "{{.Role}}"); strings.Count(roles, "voter")-strings.Count(roles, "nonvoter") != 2 {
			return fmt.Errorf("the hosts are %q", roles)
		}
		return nil
	})
}

// makeImage imports an image of random bytes on a host.
func makeImage(t *testing.T, h *lab.Host, name string, megabytes int64) {
	t.Helper()
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "random", Mode: 0o644, Size: megabytes * megabyte}); err != nil {
		t.Fatal(err)
	}
	random := io.LimitReader(rand.NewChaCha8([32]byte{byte(megabytes)}), megabytes*megabyte)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := h.Command(ctx, "docker", "-H", h.Agent(), "import", "-", name)
	cmd.Stdin = io.MultiReader(&head, random, bytes.NewReader(make([]byte, 1024)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
}

// left is all that an engine keeps of images, and what the agent knows of those that
// it brought.
func left(t *testing.T, l *lab.Lab, h *lab.Host) string {
	t.Helper()
	var all strings.Builder
	for _, part := range []string{
		"data/image/overlay2/imagedb/content/sha256", "data/image/overlay2/layerdb/sha256",
		"data/image/overlay2/layerdb/tmp", "data/overlay2", "data/tmp",
	} {
		files, err := os.ReadDir(filepath.Join(l.Dir, h.Name(), part))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, f := range files {
			fmt.Fprintln(&all, part, f.Name())
		}
	}
	for _, note := range notes(t, l, h) {
		fmt.Fprintln(&all, note)
	}
	return all.String()
}

// notes returns the files in which the agent keeps what it brings or has brought. What was
// called off, and is not there, may stay noted for some minutes.
func notes(t *testing.T, l *lab.Lab, h *lab.Host) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(l.Dir, h.Name(), "state/images/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if text, err := os.ReadFile(path); err == nil && !strings.Contains(string(text), `"missed"`) {
			files = append(files, path)
		}
	}
	return files
}

// nothing waits until a host has what it had before, and no more.
func nothing(t *testing.T, l *lab.Lab, h *lab.Host, before string) {
	t.Helper()
	lab.Eventually(t, 20*time.Second, func() error {
		if now := left(t, l, h); now != before {
			return fmt.Errorf("%s had\n%s\nand has\n%s", h.Name(), before, now)
		}
		return nil
	})
}

// clean waits until a host has no image but busybox, and knows of none that comes.
func clean(t *testing.T, l *lab.Lab, h *lab.Host) {
	t.Helper()
	lab.Eventually(t, 20*time.Second, func() error {
		images := h.Docker(t, "images", "-a", "--format", "{{.Repository}}:{{.Tag}}")
		if coming := notes(t, l, h); images != "busybox:latest\n" || len(coming) > 0 {
			return fmt.Errorf("%s has %s, brings %v", h.Name(), images, coming)
		}
		return nil
	})
}
