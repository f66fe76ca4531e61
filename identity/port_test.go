package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// maxHandshakes is how many a port has room for here.
const maxHandshakes = 256

// run runs port until the test ends.
func run(t *testing.T, port *Port) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- port.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// hangUp returns how long the other end of conn took to close it.
func hangUp(conn net.Conn) time.Duration {
	start := time.Now()
	io.Copy(io.Discard, conn)
	return time.Since(start)
}

func TestASilentPeerIsClosedAndDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := newNode(t, newCluster(t))
		ln := newPipes()
		greeter(t, ln, id)
		start := time.Now()
		silent := ln.dial()
		if _, _, err := ask(ln.dial(), id.Client(ProtoRPC, "")); err != nil || time.Since(start) != 0 {
			t.Errorf("the next peer was served after %v: %v", time.Since(start), err)
		}
		if got := hangUp(silent); got != 10*time.Second {
			t.Errorf("silent peer closed after %v, want 10s", got)
		}
	})
}

func TestPlainTextIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		greeter(t, ln, newNode(t, newCluster(t)))
		conn := ln.dial()
		go io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := hangUp(conn); got != 0 {
			t.Errorf("closed after %v", got)
		}
	})
}

func TestOneHandshakeTooManyEndsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := newNode(t, newCluster(t))
		ln := newPipes()
		greeter(t, ln, id)
		first := ln.dial()
		synctest.Wait()
		second := ln.dial()
		for range maxHandshakes - 2 {
			ln.dial()
		}
		start := time.Now()
		if _, _, err := ask(ln.dial(), id.Client(ProtoRPC, "")); err != nil || time.Since(start) != 0 {
			t.Errorf("one more was served after %v: %v", time.Since(start), err)
		}
		if got := hangUp(first); got != 0 {
			t.Errorf("the oldest was closed after %v", got)
		}
		if got := hangUp(second); got != handshakeTimeout {
			t.Errorf("the next was closed after %v", got)
		}
	})
}

func TestAConnectionThatNobodyTakesIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := newNode(t, newCluster(t))
		ln := newPipes()
		port := NewPort(ln, id, maxHandshakes)
		port.Listener(ProtoRPC)
		shut := port.Listener(ProtoRaft)
		shut.Close()
		run(t, port)
		for proto, want := range map[string]time.Duration{ProtoRPC: handshakeTimeout, ProtoRaft: 0} {
			start := time.Now()
			got, _, err := ask(ln.dial(), id.Client(proto, ""))
			if got != "" || err != nil || time.Since(start) != want {
				t.Errorf("%s: closed after %v, want %v (%q, %v)", proto, time.Since(start), want, got, err)
			}
		}
		_, _, err := ask(ln.dial(), id.Client(ProtoGossip, ""))
		wantErr(t, err, "no application protocol")

		wordless := id.Client("", "") // a node that names no protocol means HTTP
		wordless.NextProtos = nil
		if got, _, err := ask(ln.dial(), wordless); got != "" || err != nil {
			t.Errorf("without HTTP: %q, %v", got, err)
		}
	})
}

func TestRunEndsWithAllThatItStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := newNode(t, newCluster(t))
		ln := newPipes()
		port := NewPort(ln, id, maxHandshakes)
		taken, untaken := port.Listener(ProtoRPC), port.Listener(ProtoRaft)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- port.Run(ctx) }()

		silent := ln.dial()
		waiting := tls.Client(ln.dial(), id.Client(ProtoRaft, ""))
		live := tls.Client(ln.dial(), id.Client(ProtoRPC, ""))
		go waiting.Read(make([]byte, 1))
		go io.WriteString(live, "hello")
		go io.Copy(io.Discard, live)
		conn, err := taken.Accept()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		start := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(start) != 0 {
			t.Errorf("Run ended after %v: %v", time.Since(start), err)
		}
		hangUp(silent)
		hangUp(waiting)
		for _, door := range []net.Listener{taken, untaken} {
			if _, err := door.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v", err)
			}
		}
		hello := make([]byte, 5)
		if _, err := io.ReadFull(conn, hello); err != nil {
			t.Errorf("a delivered connection did not outlive the port: %v", err)
		}
		conn.Close()
		live.Close()
	})
}

// flaky fails to accept a few times before each connection.
type flaky struct {
	*pipes
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, syscall.EMFILE
	}
	return f.pipes.Accept()
}

func TestFailuresToAcceptAreRetriedMoreAndMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &flaky{pipes: newPipes(), failures: 10}
		greeter(t, ln, newNode(t, newCluster(t)))
		start := time.Now()
		ln.dial().Close()
		// 5+10+…+640 ms, then 1 s twice
		if got, want := time.Since(start), 1275*time.Millisecond+2*time.Second; got != want {
			t.Errorf("accepted after %v, want %v", got, want)
		}
	})
}

func TestRunFailsWhenTheListenerIsClosedUnderIt(t *testing.T) {
	ln := loopback(t)
	port := NewPort(ln, newNode(t, newCluster(t)), maxHandshakes)
	ln.Close()
	if err := port.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}
