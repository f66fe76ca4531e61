package lab_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

func TestHostsAreMachinesOfTheirOwn(t *testing.T) {
	l := lab.Up(t, 2)
	one, two := l.Host(1), l.Host(2)

	if name := one.Run("hostname").Stdout; name != "h1\n" {
		t.Errorf("host 1 is called %q", name)
	}
	one.Docker(t, "run", "-d", "--name", "only-here", "busybox", "sleep", "1000")
	if seen := two.Docker(t, "ps", "-q"); seen != "" {
		t.Errorf("host 2's engine sees a container of host 1's: %s", seen)
	}
	if err := reaches(two, "10.88."); err != nil {
		t.Error(err)
	}

	t.Run("a cut host is not reached, a mended one is", func(t *testing.T) {
		one.Cut(t)
		if reaches(two, "") == nil {
			t.Error("host 1 answers through a cut cable")
		}
		one.Mend(t)
		lab.Eventually(t, 10*time.Second, func() error { return reaches(two, "") })
	})
	t.Run("split hosts do not reach each other, joined ones do", func(t *testing.T) {
		l.Split(t, one, two)
		if reaches(two, "") == nil {
			t.Error("host 1 answers across a split")
		}
		l.Join(t, one, two)
		lab.Eventually(t, 10*time.Second, func() error { return reaches(two, "") })
	})
	t.Run("a clean lab has no container and no other image", func(t *testing.T) {
		one.Docker(t, "tag", "busybox:latest", "other:tag")
		one.Docker(t, "commit", "only-here", "made:here")
		if err := l.Clean(); err != nil {
			t.Fatal(err)
		}
		if left := one.Docker(t, "ps", "-aq"); left != "" {
			t.Errorf("containers left: %s", left)
		}
		if left := one.Docker(t, "images", "--format", "{{.Repository}}"); left != "busybox\n" {
			t.Errorf("images left: %s", left)
		}
	})
}

// reaches asks for one echo of host 1, whatever lab this is.
func reaches(from *lab.Host, prefix string) error {
	route := from.Run("ip", "-4", "-o", "addr", "show", "eth0").Stdout
	fields := strings.Fields(route)
	if len(fields) < 4 || !strings.HasPrefix(fields[3], prefix) {
		return errors.New("no address: " + route)
	}
	net := fields[3][:strings.LastIndexByte(fields[3], '.')]
	if r := from.Run("busybox", "ping", "-c1", "-W1", net+".1"); r.Code != 0 {
		return errors.New("no echo: " + r.Stdout + r.Stderr)
	}
	return nil
}

func TestDownLeavesNothing(t *testing.T) {
	l, err := lab.Raise(1)
	if err != nil {
		t.Fatal(err)
	}
	l.Host(1).Docker(t, "run", "-d", "busybox", "sleep", "1000")
	mounts := func() string {
		text, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if strings.Contains(mounts(), l.Dir) {
		t.Error("the lab mounts something outside its hosts")
	}
	if err := l.Down(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{l.Dir, l.Dir + ".lock"} {
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", left, err)
		}
	}
}

func TestAnEngineThatIsNotThereIsMissed(t *testing.T) {
	if l, err := lab.Raise(1, "h1=/no/where:overlay2"); err == nil {
		t.Errorf("a lab without its engine is up (%v)", l.Down())
	}
}

func TestPollReturnsTheLastErrorWhenTimeIsUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Millisecond)
	defer cancel()
	missing := errors.New("still missing")
	if err := lab.Poll(ctx, func() error { return missing }); !errors.Is(err, missing) {
		t.Errorf("Poll returned %v", err)
	}
}
