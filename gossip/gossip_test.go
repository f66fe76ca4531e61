package gossip

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/test/vnet"
)

// validConfig is complete, but its network leads nowhere.
func validConfig() Config {
	return Config{
		ID: "n1", Cluster: "lab", Keys: [][]byte{make([]byte, 32)},
		Advertise: netip.MustParseAddrPort("10.0.0.1:2375"),
		Packets:   &net.UDPConn{}, Streams: &net.TCPListener{},
		Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("no network") },
	}
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	if _, err := New(validConfig()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no ID":              func(c *Config) { c.ID = "" },
		"a long name":        func(c *Config) { c.Name = strings.Repeat("n", 256) },
		"a long version":     func(c *Config) { c.Version = strings.Repeat("v", 201) },
		"no cluster":         func(c *Config) { c.Cluster = "" },
		"a short key":        func(c *Config) { c.Keys = [][]byte{c.Keys[0], make([]byte, 16)} },
		"no key":             func(c *Config) { c.Keys = nil },
		"no address":         func(c *Config) { c.Advertise = netip.AddrPort{} },
		"any address":        func(c *Config) { c.Advertise = netip.MustParseAddrPort("0.0.0.0:1") },
		"no packets":         func(c *Config) { c.Packets = nil },
		"no streams":         func(c *Config) { c.Streams = nil },
		"no way to dial out": func(c *Config) { c.Dial = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := validConfig()
			spoil(&c)
			if _, err := New(c); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestRunLeavesWithinASecondEvenWhileItDialsIntoTheVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(3)
		l.net.Cut(addr(1), addr(2))
		l.net.Cut(addr(1), addr(3))
		lonely := l.start("n4", 4)
		l.net.Cut(addr(1), addr(4))
		time.Sleep(time.Second)
		for _, n := range []*node{all[0], lonely} {
			if took := l.leave(n); took > time.Second {
				t.Errorf("%s left after %v", n.cfg.ID, took)
			}
		}
	})
}

func TestCandidatesAreThoseWhoAreMissing(t *testing.T) {
	c := validConfig()
	var logged bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	c.Seeds = func() []string {
		return []string{"10.0.0.1:2375", "10.0.0.2:2375", "10.0.0.3:2375", "10.0.0.3:2375", "seed.example:2375"}
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	g.roster.put(Member{ID: "n2", Addr: "10.0.0.2:2375", Alive: true})
	g.roster.put(Member{ID: "n4", Addr: "10.0.0.4:2375"})
	if got := g.candidates(true); len(got) != 3 || got[2] != "10.0.0.2:2375" {
		t.Errorf("candidates are %q; want the missing 3 and 4, then the live 2", got)
	}
	if got := g.candidates(false); len(got) != 2 || slices.Contains(got, "10.0.0.2:2375") {
		t.Errorf("candidates are %q; want the missing 3 and 4", got)
	}
	if !strings.Contains(logged.String(), "seed.example") {
		t.Error("a seed that cannot be used was dropped in silence")
	}
}

func TestCandidatesAreFew(t *testing.T) {
	c := validConfig()
	c.Seeds = func() []string {
		return strings.Fields("10.0.1.1:1 10.0.1.2:1 10.0.1.3:1 10.0.1.4:1 10.0.1.5:1 10.0.1.6:1")
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.candidates(true); len(got) != rejoinPeers {
		t.Errorf("%d candidates", len(got))
	}
}

func TestMemberlistsComplaintsAreLoggedAtMostEvery10Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newLogger(slog.New(slog.NewTextHandler(&out, nil)))
		l.Printf("[DEBUG] memberlist: noise")
		l.Printf("[INFO] memberlist: noise")
		l.Printf("noise")
		l.Printf("[ERR] memberlist: first")
		l.Printf("[ERR] memberlist: noise")
		l.Printf("[WARN] memberlist: noise")
		time.Sleep(logPause)
		l.Printf("[WARN] memberlist: second")
		text := out.String()
		if strings.Contains(text, "noise") || strings.Count(text, "\n") != 2 ||
			!strings.Contains(text, "level=WARN msg=\"memberlist says\" text=first") ||
			!strings.Contains(text, "level=INFO msg=\"memberlist says\" text=second") {
			t.Errorf("logged:\n%s", text)
		}
	})
}

// flaky is a listener that fails once before it works.
type flaky struct {
	net.Listener
	failed bool
}

func (f *flaky) Accept() (net.Conn, error) {
	if !f.failed {
		f.failed = true
		return nil, os.ErrDeadlineExceeded
	}
	return f.Listener.Accept()
}

func TestTheTransportOutlivesAPassingFailureOfItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := vnet.New(1).Boot(addr(1))
		c := validConfig()
		c.Logger = slog.New(slog.DiscardHandler)
		c.Packets, _ = host.ListenPacket(":1")
		ln, _ := host.Listen(":1")
		c.Streams = &flaky{Listener: ln}
		tr := newTransport(&c)
		ended := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- tr.serve(ctx) }()

		dialed, err := host.Dial(ctx, addr(1)+":1")
		if err != nil {
			t.Fatal(err)
		}
		accepted := <-tr.StreamCh()
		dialed.Close()
		time.Sleep(time.Second)
		if _, err := accepted.Write([]byte("x")); err == nil {
			t.Error("wrote to a closed peer")
		}
		if len(tr.open) != 0 {
			t.Error("a stream whose write failed stays open")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := tr.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}
