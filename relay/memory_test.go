package relay

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/sched"
	"ddocker/test/vnet"
)

// world is a host that relays, the one that has the containers, and a client's, in
// virtual time.
type world struct {
	*testing.T
	net               *vnet.Net
	here, there, desk *vnet.Host
	relay             *Relay
	hereIP, thereIP   string
	stream, packet    Target
	unknown           bool // nobody knows where the node is
	streamTo          string
}

func inWorld(t *testing.T, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: vnet.New(1), hereIP: "10.0.0.1", thereIP: "10.0.0.2"}
		w.here, w.there, w.desk = w.net.Boot(w.hereIP), w.net.Boot(w.thereIP), w.net.Boot("10.0.0.3")
		w.stream = Target{sched.Port{Number: 25000, Proto: "tcp"}, "p1", "n2"}
		w.packet = Target{sched.Port{Number: 25000, Proto: "udp"}, "p1", "n2"}
		w.streamTo = w.hereIP + ":25000"
		w.relay = New(Config{
			Network: w.here, Logger: slog.New(slog.DiscardHandler),
			Address: func(node string) (string, bool) { return w.thereIP, node == "n2" && !w.unknown },
		})
		play(w)
		w.relay.Close()
		for _, host := range []*vnet.Host{w.here, w.there} {
			w.net.Kill(host) // ends what a test left of containers
		}
		synctest.Wait()
	})
}

func (w *world) set(missing int, targets ...Target) {
	w.Helper()
	if got := w.relay.Set(targets, nil); got != missing {
		w.Fatalf("%d ports are missing, want %d", got, missing)
	}
}

// serve has the container answer each connection by what it has read in all.
func (w *world) serve() net.Listener {
	w.Helper()
	l, err := w.there.Listen(":25000")
	if err != nil {
		w.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if text, err := io.ReadAll(c); err == nil {
					fmt.Fprintf(c, "%s from %s", text, c.RemoteAddr().(*net.TCPAddr).IP)
				}
			}()
		}
	}()
	return l
}

func (w *world) dial() net.Conn {
	w.Helper()
	c, err := w.desk.Dial(w.Context(), w.streamTo)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// fate says how a connection that should come to nothing ends: "refused", "reset" or
// what it got instead.
func (w *world) fate() string {
	w.Helper()
	c, err := w.desk.Dial(w.Context(), w.streamTo)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err = c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNRESET) {
		return "reset"
	}
	return fmt.Sprint("read: ", err)
}

// ask ends its side of the connection and returns what comes then.
func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return string(answer)
}

func TestAConnectionIsCarriedAndEndsOneSideAtATime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve()
		w.set(0, w.stream)
		if got := ask(t, w.dial(), "hello"); got != "hello from "+w.hereIP {
			t.Errorf("got %q", got)
		}
	})
}

func TestWhatIsNotATargetIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve()
		if got := w.fate(); got != "refused" {
			t.Errorf("before it is set: %s", got)
		}
		w.set(0, w.stream)
		w.set(0)
		if got := w.fate(); got != "refused" {
			t.Errorf("after it was set: %s", got)
		}
		w.set(0, w.stream)
		w.unknown = true
		if got := w.fate(); got != "reset" {
			t.Errorf("of a node without an address: %s", got)
		}
	})
}

func TestAStoppedContainerResetsAndADeadHostDoesSoSoon(t *testing.T) {
	inWorld(t, func(w *world) {
		w.set(0, w.stream)
		began := time.Now()
		if got := w.fate(); got != "reset" || time.Since(began) > time.Second {
			t.Errorf("nobody listens: %s after %v", got, time.Since(began))
		}
		w.net.Cut(w.thereIP, w.hereIP)
		began = time.Now()
		if got := w.fate(); got != "reset" || time.Since(began) > dialTimeout+time.Second {
			t.Errorf("nobody answers: %s after %v", got, time.Since(began))
		}
		w.net.Heal()
	})
}

func TestAConnectionLivesAsLongAsItsTargetAndNotOnlyAsLongAsThePort(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve()
		w.set(0, w.stream)
		first, second := w.dial(), w.dial()
		synctest.Wait()
		time.Sleep(time.Hour) // idle
		if missing := w.relay.Set(nil, []Target{w.stream}); missing != 0 || len(w.relay.Ports()) != 0 {
			t.Errorf("%d missing, has %v", missing, w.relay.Ports())
		}
		if got := w.fate(); got != "refused" {
			t.Errorf("a new connection: %s", got)
		}
		if got := ask(t, first, "still here"); !strings.HasPrefix(got, "still here") {
			t.Errorf("got %q", got)
		}
		// Another container has the port now, on the same host.
		w.set(0, Target{w.stream.Port, "p2", "n2"})
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection to what is gone ends with %v", err)
		}
		if got := ask(t, w.dial(), "new"); !strings.HasPrefix(got, "new") {
			t.Errorf("got %q", got)
		}
	})
}

func TestOneConnectionTooManyIsResetAndMakesRoomAgain(t *testing.T) {
	for name, bound := range map[string]func(r *Relay){
		"of a port": func(r *Relay) { r.portStreams = 2 },
		"in all":    func(r *Relay) { r.streams.most = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				bound(w.relay)
				w.serve()
				w.set(0, w.stream)
				first, second := w.dial(), w.dial()
				synctest.Wait()
				time.Sleep(time.Second)
				if got := w.fate(); got != "reset" {
					t.Errorf("the third: %s", got)
				}
				ask(t, first, "done")
				time.Sleep(time.Second)
				third := w.dial()
				ask(t, third, "there is room")
				ask(t, second, "for all")
			})
		})
	}
}

func TestAPortThatSomebodyElseHasIsLeftAndTakenLater(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve()
		other, err := w.here.Listen(":25000")
		if err != nil {
			t.Fatal(err)
		}
		w.set(1, w.stream, w.packet)
		if got := w.relay.Ports(); len(got) != 1 || !got[w.packet.Port] {
			t.Errorf("it has %v", got)
		}
		other.Close()
		w.set(0, w.stream, w.packet)
		if got := ask(t, w.dial(), "at last"); !strings.HasPrefix(got, "at last") {
			t.Errorf("got %q", got)
		}
		w.relay.Close()
		w.set(0, w.stream)
		for _, proto := range []string{"tcp", "udp"} {
			var c io.Closer
			if c, err = w.here.Listen(":25000"); proto == "udp" {
				c, err = w.here.ListenPacket(":25000")
			}
			if err != nil {
				t.Fatalf("%s: the port is not free after the end: %v", proto, err)
			}
			defer c.Close()
		}
	})
}

// echo has the container send each datagram back, behind the port it came from.
func (w *world) echo() net.PacketConn {
	w.Helper()
	c, err := w.there.ListenPacket(":25000")
	if err != nil {
		w.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(fmt.Appendf(nil, "%d %s", from.(*net.UDPAddr).Port, buf[:n]), from)
		}
	}()
	return c
}

// say sends a datagram and returns the answer, and the port by which the container knows
// the client.
func (w *world) say(c net.Conn, text string) (port int, answer string) {
	w.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		w.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, "nothing"
	}
	if err != nil {
		w.Fatal(err)
	}
	number, answer, _ := strings.Cut(string(buf[:n]), " ")
	fmt.Sscan(number, &port)
	return port, answer
}

func (w *world) packets() net.Conn {
	w.Helper()
	c, err := w.desk.DialPacket(w.Context(), w.streamTo)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func TestEachClientHasASessionUntilItIsIdle(t *testing.T) {
	inWorld(t, func(w *world) {
		w.echo()
		w.set(0, w.packet)
		alice, bob := w.packets(), w.packets()
		port, answer := w.say(alice, "alice")
		other, hers := w.say(bob, "bob")
		if answer != "alice" || hers != "bob" || port == other {
			t.Fatalf("alice has %d %q, bob %d %q", port, answer, other, hers)
		}
		for range 5 {
			time.Sleep(sessionIdle - time.Second)
			if again, _ := w.say(alice, "again"); again != port {
				t.Fatalf("alice's session was %d and is %d", port, again)
			}
		}
		if got := w.relay.sessions.n.Load(); got != 1 {
			t.Errorf("%d sessions are left, want alice's", got)
		}
		time.Sleep(sessionIdle + time.Second)
		if got := w.relay.sessions.n.Load(); got != 0 {
			t.Errorf("%d sessions are left", got)
		}
		if again, answer := w.say(alice, "back"); answer != "back" || again == port {
			t.Errorf("%d %q", again, answer)
		}
	})
}

func TestASessionTakesNothingFromStrangersAndBringsNothingUnasked(t *testing.T) {
	inWorld(t, func(w *world) {
		w.echo()
		w.set(0, w.packet)
		alice := w.packets()
		port, _ := w.say(alice, "hello")
		stranger, err := w.desk.ListenPacket(":25000")
		if err != nil {
			t.Fatal(err)
		}
		stranger.WriteTo([]byte("0 forged"), &net.UDPAddr{IP: net.ParseIP(w.hereIP), Port: port})
		if _, answer := w.say(alice, "true"); answer != "true" {
			t.Errorf("alice hears %q", answer)
		}
		alice.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := alice.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("she gets %d bytes more, %v", n, err)
		}
	})
}

func TestSessionsAreBoundedAndEndWithTheTarget(t *testing.T) {
	for name, bound := range map[string]func(r *Relay){
		"of a port": func(r *Relay) { r.portSessions = 3 },
		"in all":    func(r *Relay) { r.sessions.most = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				bound(w.relay)
				w.echo()
				w.set(0, w.packet)
				var heard []string
				for i := range 5 {
					_, answer := w.say(w.packets(), fmt.Sprint(i))
					heard = append(heard, answer)
				}
				if want := []string{"0", "1", "2", "nothing", "nothing"}; !slices.Equal(heard, want) {
					t.Errorf("heard %q, want %q", heard, want)
				}
				w.set(0)
				synctest.Wait()
				if n := w.relay.sessions.n.Load(); n != 0 {
					t.Errorf("%d sessions outlive their target", n)
				}
				w.set(0, w.packet)
				if _, answer := w.say(w.packets(), "there is room"); answer != "there is room" {
					t.Errorf("heard %q", answer)
				}
			})
		})
	}
}
