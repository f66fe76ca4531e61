package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"ddocker/sched"
)

// loopback is this machine's network, where the holder is another port of it.
type loopback struct {
	t                *testing.T
	streams, packets string // where the container is
	asked            string // the address that it should be asked for at
}

func (loopback) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
func (loopback) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}
func (n loopback) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.dial(ctx, "tcp", addr, n.streams)
}
func (n loopback) DialPacket(ctx context.Context, addr string) (net.Conn, error) {
	return n.dial(ctx, "udp", addr, n.packets)
}

func (n loopback) dial(ctx context.Context, proto, addr, to string) (net.Conn, error) {
	if addr != n.asked {
		n.t.Errorf("the relay goes to %s, want %s", addr, n.asked)
	}
	return new(net.Dialer).DialContext(ctx, proto, to)
}

// freePort is one that nobody has, over TCP and UDP.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	c, err := net.ListenPacket("udp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return port
}

// last has the UDP echo go after its answer.
const last = "stop"

// relayTo relays a free port to a container that serves streams with serve, and to a
// UDP echo.
func relayTo(t *testing.T, serve func(*net.TCPConn)) (r *Relay, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); c.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c.(*net.TCPConn))
		}
	}()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from)
			if string(buf[:n]) == last {
				c.Close()
			}
		}
	}()
	number := freePort(t)
	port = strconv.Itoa(int(number))
	r = New(Config{
		Network: loopback{t, l.Addr().String(), c.LocalAddr().String(), "192.0.2.9:" + port},
		Address: func(string) (string, bool) { return "192.0.2.9", true }, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(r.Close)
	tcp, udp := sched.Port{Number: number, Proto: "tcp"}, sched.Port{Number: number, Proto: "udp"}
	if missing := r.Set([]Target{{tcp, "p1", "n2"}, {udp, "p1", "n2"}}, nil); missing != 0 {
		t.Fatalf("%d ports are missing", missing)
	}
	return r, port
}

func dialReal(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second)) // what does not come fails
	return c.(*net.TCPConn)
}

// echo sends all back, and ends when the client has.
func echo(c *net.TCPConn) {
	defer c.Close()
	io.Copy(c, c)
}

func TestMegabytesPassBothWaysAtOnceOverBothFamilies(t *testing.T) {
	_, port := relayTo(t, echo)
	for _, host := range []string{"127.0.0.1", "::1"} {
		sent := make([]byte, 8<<20)
		rand.Read(sent)
		c := dialReal(t, net.JoinHostPort(host, port))
		go func() {
			c.Write(sent)
			c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %d of %d bytes come back, or others: %v", host, len(got), len(sent), err)
		}
	}
}

func TestEitherSidesHalfCloseIsTheOthers(t *testing.T) {
	got := make(chan string, 1)
	_, port := relayTo(t, func(c *net.TCPConn) { // it ends first, and reads on
		defer c.Close()
		io.WriteString(c, "bye")
		c.CloseWrite()
		text, _ := io.ReadAll(c)
		got <- string(text)
	})
	c := dialReal(t, "127.0.0.1:"+port)
	if text, err := io.ReadAll(c); string(text) != "bye" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	io.WriteString(c, "and more")
	c.CloseWrite()
	if text := <-got; text != "and more" {
		t.Errorf("after its own end the container reads %q", text)
	}
}

func TestEitherSidesResetIsTheOthers(t *testing.T) {
	got := make(chan error, 1)
	for name, c := range map[string]struct {
		serve, use func(*net.TCPConn)
	}{
		"the container's": {
			func(c *net.TCPConn) { c.Read(make([]byte, 1)); abort(c) },
			func(c *net.TCPConn) { c.Write([]byte("x")); _, err := c.Read(make([]byte, 1)); got <- err },
		},
		"the client's": {
			func(c *net.TCPConn) { c.Write([]byte("x")); _, err := c.Read(make([]byte, 1)); c.Close(); got <- err },
			func(c *net.TCPConn) { c.Read(make([]byte, 1)); abort(c) },
		},
	} {
		_, port := relayTo(t, c.serve)
		c.use(dialReal(t, "127.0.0.1:"+port))
		if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s reset is seen as %v", name, err)
		}
	}
}

func TestDatagramsOfAnySizeAreAnsweredFromTheAddressThatWasAsked(t *testing.T) {
	_, port := relayTo(t, echo)
	for host, most := range map[string]int{"127.0.0.1": 65507, "127.0.0.2": 65507, "::1": 65507} {
		c, err := net.Dial("udp", net.JoinHostPort(host, port)) // it takes nothing from any other address
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 0, 1400, most} {
			sent := make([]byte, size)
			rand.Read(sent)
			c.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 1<<16)
			if n, err := c.Read(got); err != nil || !bytes.Equal(got[:n], sent) {
				t.Errorf("%s: of %d bytes %d come back, %v", host, size, n, err)
			}
		}
		c.Close()
	}
}

func TestASessionEndsWhenTheHoldersHostSaysThatNobodyIsThere(t *testing.T) {
	r, port := relayTo(t, echo)
	c, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, last)
	if _, err := c.Read(make([]byte, 10)); err != nil || r.sessions.n.Load() != 1 {
		t.Fatalf("%v, %d sessions", err, r.sessions.n.Load())
	}
	settles(t, "the session is over", func() bool {
		io.WriteString(c, "anybody?")
		return r.sessions.n.Load() == 0
	})
}

func TestNothingIsLeftOfManyConnections(t *testing.T) {
	r, port := relayTo(t, echo)
	before := descriptors(t)
	for i := range 200 {
		c := dialReal(t, "127.0.0.1:"+port)
		switch i % 3 {
		case 0:
			abort(c)
		case 1:
			c.Close()
		default:
			io.WriteString(c, "x")
			c.CloseWrite()
			io.ReadAll(c)
			c.Close()
		}
	}
	settles(t, "all connections have ended", func() bool { return r.streams.n.Load() == 0 })
	settles(t, "all descriptors are closed", func() bool {
		runtime.GC() // which frees the pipes through which bytes were spliced
		return descriptors(t) <= before
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// settles waits for what happens soon.
func settles(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}
