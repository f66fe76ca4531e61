package vnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ipA = "10.0.0.1"
	ipB = "10.0.0.2"
)

// bubble runs f with two hosts in virtual time.
func bubble(t *testing.T, f func(t *testing.T, n *Net, a, b *Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		f(t, n, n.Boot(ipA), n.Boot(ipB))
	})
}

// connect returns both ends of a stream from a to port 80 of b.
func connect(t *testing.T, a, b *Host) (near, far net.Conn) {
	t.Helper()
	ln, err := b.Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = a.Dial(t.Context(), ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func listenPacket(t *testing.T, h *Host) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket("0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// mustRead reads len(want) bytes of which want must be.
func mustRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestAStreamDeliversInOrderAndEndsAfterTheLastByte(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, far := connect(t, a, b)
		var sent bytes.Buffer
		for i := range 500 {
			piece := bytes.Repeat([]byte{byte(i)}, i)
			sent.Write(piece)
			near.Write(piece)
		}
		near.Close()
		start := time.Now()
		got, err := io.ReadAll(far)
		if err != nil || !bytes.Equal(got, sent.Bytes()) {
			t.Errorf("read %d bytes, %v; want the %d sent", len(got), err, sent.Len())
		}
		if time.Since(start) == 0 {
			t.Error("bytes took no time")
		}
		_, err = far.Write([]byte("x"))
		wantErr(t, "write to a closed peer", err, syscall.ECONNRESET)
		far.Close()
		if len(n.conns) != 0 {
			t.Error("the network remembers a closed stream")
		}
	})
}

func TestAddressesAreOfTheKindAndFormOfPackageNet(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, far := connect(t, a, b)
		if _, ok := near.RemoteAddr().(*net.TCPAddr); !ok || near.RemoteAddr().String() != "10.0.0.2:80" {
			t.Errorf("remote address %v", near.RemoteAddr())
		}
		if near.LocalAddr().String() != far.RemoteAddr().String() {
			t.Errorf("one end says %v, the other %v", near.LocalAddr(), far.RemoteAddr())
		}
		p := listenPacket(t, a)
		if _, ok := p.LocalAddr().(*net.UDPAddr); !ok || p.LocalAddr().String() != "10.0.0.1:80" {
			t.Errorf("packet address %v", p.LocalAddr())
		}
	})
}

func TestDeadlinesEndReadsAndWritesThatWait(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, far := connect(t, a, b)
		start := time.Now()
		far.SetReadDeadline(start.Add(time.Second))
		_, err := far.Read(make([]byte, 1))
		wantErr(t, "read", err, os.ErrDeadlineExceeded)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the read took %v", took)
		}

		near.SetWriteDeadline(start.Add(3 * time.Second))
		k, err := near.Write(make([]byte, window+1))
		wantErr(t, "write", err, os.ErrDeadlineExceeded)
		if took := time.Since(start); took != 3*time.Second || k != window {
			t.Errorf("%d bytes were written in %v", k, took)
		}

		far.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { far.SetReadDeadline(time.Now()) })
		io.CopyN(io.Discard, far, window)
		_, err = far.Read(make([]byte, 1))
		wantErr(t, "read whose deadline was moved", err, os.ErrDeadlineExceeded)

		p := listenPacket(t, a)
		p.SetReadDeadline(time.Now().Add(time.Second))
		_, _, err = p.ReadFrom(make([]byte, 1))
		wantErr(t, "packet read", err, os.ErrDeadlineExceeded)
	})
}

func TestAWriterWaitsForItsReader(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, far := connect(t, a, b)
		written := make(chan error, 1)
		go func() {
			_, err := near.Write(make([]byte, 4*window))
			written <- err
		}()
		time.Sleep(time.Minute)
		select {
		case <-written:
			t.Fatal("nobody reads, yet Write has returned")
		default:
		}
		io.CopyN(io.Discard, far, 4*window)
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

func TestACutHoldsOneDirectionBackUntilItHeals(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, far := connect(t, a, b)
		n.Cut(ipA, ipB)
		near.Write([]byte("late"))
		near.Close()
		if _, err := far.Write([]byte("into the void")); err != nil {
			t.Errorf("far cannot know that near has closed, but %v", err)
		}
		far.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := far.Read(make([]byte, 1))
		wantErr(t, "read over the cut", err, os.ErrDeadlineExceeded)

		far.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, n.Heal)
		mustRead(t, far, "late")
		_, err = far.Read(make([]byte, 1))
		wantErr(t, "read the end", err, io.EOF)
	})
}

func TestAKilledHostResetsItsConnections(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, far := connect(t, a, b)
		packets := listenPacket(t, b)
		ln, _ := b.Listen(":81")
		time.AfterFunc(time.Second, func() { n.Kill(b) })
		_, err := near.Read(make([]byte, 1))
		wantErr(t, "the peer's read", err, syscall.ECONNRESET)
		_, err = near.Write([]byte("x"))
		wantErr(t, "the peer's write", err, syscall.ECONNRESET)
		_, err = far.Read(make([]byte, 1))
		wantErr(t, "the dead host's read", err, net.ErrClosed)
		_, _, err = packets.ReadFrom(make([]byte, 1))
		wantErr(t, "the dead host's packets", err, net.ErrClosed)
		_, err = ln.Accept()
		wantErr(t, "the dead host's listener", err, net.ErrClosed)
		_, err = b.Dial(t.Context(), ipA+":80")
		wantErr(t, "the dead host's dial", err, net.ErrClosed)
	})
}

func TestAResetDoesNotCrossACut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		near, _ := connect(t, a, b)
		n.Cut(ipB, ipA)
		n.Kill(b)
		near.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := near.Read(make([]byte, 1))
		wantErr(t, "read over the cut", err, os.ErrDeadlineExceeded)
		near.SetReadDeadline(time.Time{})
		n.Heal()
		_, err = near.Read(make([]byte, 1))
		wantErr(t, "read once healed", err, syscall.ECONNRESET)
	})
}

func TestDialTellsARefusalFromAMissingHostFromACut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		_, err := a.Dial(t.Context(), ipB+":80")
		wantErr(t, "no listener", err, syscall.ECONNREFUSED)

		start := time.Now()
		_, err = a.Dial(t.Context(), "10.0.0.9:80")
		wantErr(t, "no host", err, syscall.EHOSTUNREACH)
		if took := time.Since(start); took != noRoute {
			t.Errorf("to find no host took %v", took)
		}

		n.Cut(ipB, ipA)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = a.Dial(ctx, ipB+":80")
		wantErr(t, "cut", err, os.ErrDeadlineExceeded)

		time.AfterFunc(time.Second, n.Heal)
		near, far := connect(t, a, b)
		far.Write([]byte("hello"))
		mustRead(t, near, "hello")
	})
}

func TestAHostRebootsAtTheSameAddress(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		old := listenPacket(t, b)
		n.Kill(b)
		n.Kill(b)
		b = n.Boot(ipB)
		near, far := connect(t, a, b)
		near.Write([]byte("hello"))
		mustRead(t, far, "hello")
		_, err := old.WriteTo([]byte("x"), old.LocalAddr())
		wantErr(t, "write in the former life", err, net.ErrClosed)
	})
}

func TestAPortIsTakenUntilItIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		ln, _ := a.Listen(":80")
		_, err := a.Listen(":80")
		wantErr(t, "second listener", err, syscall.EADDRINUSE)
		waiting, _ := b.Dial(t.Context(), ipA+":80")
		ln.Close()
		ln.Close()
		_, err = waiting.Read(make([]byte, 1))
		wantErr(t, "read of what nobody accepted", err, syscall.ECONNRESET)
		if _, err := a.Listen(":80"); err != nil {
			t.Error(err)
		}
		if ln, err := a.Listen(":0"); err != nil || ln.Addr().String() == ipA+":0" {
			t.Errorf("a free port: %v, %v", ln.Addr(), err)
		}
	})
}

func TestPacketsArriveUnlessCutOrLostOrTooMany(t *testing.T) {
	bubble(t, func(t *testing.T, n *Net, a, b *Host) {
		from, to := listenPacket(t, a), listenPacket(t, b)
		// arrived sends k packets and counts what arrives within a second.
		arrived := func(k int) (got int) {
			for range k {
				from.WriteTo([]byte("hello"), to.LocalAddr())
			}
			to.SetReadDeadline(time.Now().Add(time.Second))
			for buf := make([]byte, 10); ; got++ {
				size, sender, err := to.ReadFrom(buf)
				if err != nil {
					return got
				}
				if size != 5 || sender.String() != from.LocalAddr().String() {
					t.Errorf("%d bytes from %v", size, sender)
				}
			}
		}
		if got := arrived(100); got != 100 {
			t.Errorf("%d of 100 packets arrived", got)
		}
		if got := arrived(2 * maxUnread); got != maxUnread {
			t.Errorf("%d packets were kept", got)
		}
		n.SetLoss(0.5)
		if got := arrived(100); got < 20 || got > 80 {
			t.Errorf("%d of 100 packets arrived at half loss", got)
		}
		n.SetLoss(0)
		n.SetTwice(0.5)
		if got := arrived(100); got < 120 || got > 180 {
			t.Errorf("%d packets arrived of 100, half of them twice", got)
		}
		n.SetTwice(0)
		n.SetDelay(2*time.Second, 0)
		if got := arrived(1); got != 0 {
			t.Error("a packet arrived before its time")
		}
		n.SetDelay(0, 0)
		n.Cut(ipA, ipB)
		if got := arrived(1); got != 0 {
			t.Error("a packet crossed the cut")
		}
		n.Heal()
		n.Kill(b)
		if _, err := from.WriteTo([]byte("hello"), to.LocalAddr()); err != nil {
			t.Errorf("a packet to a dead host vanishes, but %v", err)
		}
	})
}
