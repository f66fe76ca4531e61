package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/test/vnet"
)

// counted counts what its Write is called for.
type counted struct {
	net.Conn
	writes atomic.Int32
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// onLinks runs a test with the two ends of a link in a bubble.
func onLinks(t *testing.T, test func(t *testing.T, here, there *link)) {
	server := httptest.NewTLSServer(nil) // for its certificate
	config := server.TLS.Clone()
	server.Close()
	synctest.Test(t, func(t *testing.T) {
		n, lent := vnet.New(1), new(pieces)
		n.SetDelay(0, 0)
		near, far := n.Boot("10.0.0.1"), n.Boot("10.0.0.2")
		ln, err := gathering{far, lent}.Listen("10.0.0.2:1")
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan net.Conn)
		go func() {
			c, _ := ln.Accept()
			secure := tls.Server(c, config)
			secure.Handshake()
			accepted <- secure
		}()
		secure, err := dialTLS(t.Context(), gathering{near, lent}, "10.0.0.2:1", &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		var ends [2]*link
		for i, c := range []net.Conn{secure, <-accepted} {
			l, err := linked(c)
			if err != nil {
				t.Fatal(err)
			}
			ends[i] = l.(*link)
			t.Cleanup(func() { ends[i].below.Close() })
		}
		test(t, ends[0], ends[1])
		ln.Close()
	})
}

func TestALinkCarriesManyRecordsAtOnce(t *testing.T) {
	onLinks(t, func(t *testing.T, here, there *link) {
		sent := make([]byte, 1<<20)
		rand.Read(sent)
		below := &counted{Conn: here.below.Conn}
		here.below.Conn = below
		go func() {
			here.Write(sent)
			here.Close()
		}()
		var got bytes.Buffer
		most, p := 0, make([]byte, linkPiece)
		for {
			n, err := there.Read(p)
			got.Write(p[:n])
			most = max(most, n)
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got.Bytes(), sent) {
			t.Fatalf("%d other bytes arrive", got.Len())
		}
		if n := below.writes.Load(); n > 20 {
			t.Errorf("1 MiB is sent in %d pieces", n)
		}
		if most < 48<<10 {
			t.Errorf("no more than %d bytes are read at once", most)
		}
	})
}

func TestALinkHoldsNoWordBack(t *testing.T) {
	onLinks(t, func(t *testing.T, here, there *link) {
		go func() {
			for p := make([]byte, 1<<10); ; {
				n, err := there.Read(p)
				if err != nil {
					there.Close()
					return
				}
				there.Write(p[:n])
			}
		}()
		for _, size := range []int{1, 100, 1 << 10, 40 << 10, 200 << 10, 1} {
			go here.Write(make([]byte, size))
			began := time.Now()
			if _, err := io.ReadFull(here, make([]byte, size)); err != nil || time.Since(began) > 0 {
				t.Errorf("%d bytes are back after %v: %v", size, time.Since(began), err)
			}
			synctest.Wait()
		}
		if err := here.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := here.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after both have ended: %d, %v", n, err)
		}
	})
}

func TestALinkOnWhichLittleIsSaidKeepsNoPiece(t *testing.T) {
	onLinks(t, func(t *testing.T, here, there *link) {
		go io.Copy(io.Discard, there)
		for range 3 {
			here.Write(make([]byte, 300<<10))
			here.Write(make([]byte, 10))
			here.Write(make([]byte, 10))
		}
		synctest.Wait()
		if here.below.out != nil || there.below.in != nil {
			t.Errorf("a piece is kept: to write %v, to read %v", here.below.out != nil, there.below.in != nil)
		}
	})
}

func TestCloseEndsAWriteThatNobodyReads(t *testing.T) {
	onLinks(t, func(t *testing.T, here, _ *link) {
		ended := make(chan error)
		go func() {
			_, err := here.Write(make([]byte, 1<<20))
			ended <- err
		}()
		synctest.Wait()
		began := time.Now()
		here.Close()
		if err := <-ended; err == nil || time.Since(began) > 0 {
			t.Errorf("the write ends after %v with %v", time.Since(began), err)
		}
		if _, err := here.Write([]byte("more")); err == nil {
			t.Error("after a write that failed more is written")
		}
	})
}

func TestAWriteThatFailsBeneathALinkIsNoSuccess(t *testing.T) {
	onLinks(t, func(t *testing.T, here, there *link) {
		here.SetWriteDeadline(time.Now().Add(-time.Second))
		if n, err := here.Write(make([]byte, 10)); err == nil {
			t.Errorf("%d bytes are written", n)
		}
		here.SetWriteDeadline(time.Time{})
		if _, err := here.Write([]byte("more")); err == nil {
			t.Error("the stream goes on behind a gap")
		}
	})
}
