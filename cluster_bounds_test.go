package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/identity"
	"ddocker/test/vnet"
)

// dialFrom opens a connection from a machine that is no part of the cluster.
func (w *world) dialFrom(from *vnet.Host, addr string) net.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	c, err := from.Dial(ctx, addr)
	for ; errors.Is(err, syscall.ECONNREFUSED); c, err = from.Dial(ctx, addr) {
		time.Sleep(time.Millisecond) // its backlog is full
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// answersAll wants every host to serve a list, a create and a removal as if nothing were.
func (w *world) answersAll(when string) {
	w.t.Helper()
	for i, h := range w.hosts {
		began := time.Now()
		if _, took := h.row("none"); took > 500*time.Millisecond {
			w.t.Errorf("%s: the list of %s took %v", when, h.name, took)
		}
		name := fmt.Sprintf("%s-%d", strings.ReplaceAll(when, " ", "-"), i)
		h.mustRun(wanted{name: name})
		if took := time.Since(began); took > 5*time.Second {
			w.t.Errorf("%s: a list and a create by %s took %v", when, h.name, took)
		}
	}
}

// Whoever connects and says nothing, many times more often than may be, keeps nobody
// else out: not before the handshake, not after it, not on the local socket.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		const files, many = 2000, 3000
		h, crowd := w.hosts[0], w.net.Boot("10.2.0.9")
		h.start(func(c *agentConfig) { c.files = files })
		w.hosts[1].start(joining(h, h.token()))
		w.whole()
		public := net.JoinHostPort(h.ip, defaultPort)
		silent := make([]net.Conn, 0, many)
		for i := range many {
			silent = append(silent, w.dialFrom(crowd, public))
			if i == many/2 {
				w.answersAll("amid silence")
			}
		}
		w.answersAll("after silence")
		for range limitsOf(files).clients + 100 {
			w.dialFrom(crowd, net.JoinHostPort(h.ip, socketPort))
		}
		time.Sleep(freshTime)
		w.answersAll("after idleness")
		synctest.Wait()
		if open := stillOpen(silent); open > 256 {
			t.Errorf("%d of %d silent connections are open", open, many)
		}
	})
}

// stillOpen returns how many connections the other end has not closed.
func stillOpen(conns []net.Conn) (open int) {
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(time.Microsecond))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			if late, ok := err.(net.Error); ok && late.Timeout() {
				open++
			}
		}
	}
	return open
}

// A request whose header or body trickles in is given up, however slowly it goes on.
func TestTricklingRequestsAreGivenUp(t *testing.T) {
	t.Parallel()
	for what, head := range map[string]string{
		"a header":             "GET /containers/json HTTP/1.1\r\nHost: d\r\nX-Slow: ",
		"a body to create":     "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n",
		"a body in chunks":     "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
		"a body for the lab":   "POST /ddocker/settings HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n",
		"a body that is alien": "POST /containers/none/start HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n",
		"a body of no route":   "POST /none HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n",
		"a body to a list":     "GET /containers/json HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			inCluster(t, 1, func(t *testing.T, w *world) {
				c := w.dialFrom(w.desk, net.JoinHostPort(w.hosts[0].ip, socketPort))
				io.WriteString(c, head)
				began := time.Now()
				go func() {
					for {
						if _, err := io.WriteString(c, " "); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				c.SetReadDeadline(time.Now().Add(10 * time.Minute))
				answer, err := io.ReadAll(c)
				if took := time.Since(began); took > time.Minute {
					t.Errorf("given up after %v (%q, %v)", took, answer, err)
				}
			})
		})
	}
}

// A body of 1 GB is refused when 4 MiB of it have come, where it is none that is meant
// to be long.
func TestBodiesWithoutAnEndAreCutOff(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/containers/create", "/containers/there/update", "/containers/there/exec", "/containers/there/stop", "/commit?container=there",
		"/networks/create", "/volumes/create", "/ddocker/settings", "/ddocker/tokens", "/none",
	} {
		for framing, header := range map[string]string{"told": "Content-Length: 1073741824", "in chunks": "Transfer-Encoding: chunked"} {
			t.Run(path+" "+framing, func(t *testing.T) {
				inCluster(t, 1, func(t *testing.T, w *world) {
					w.hosts[0].mustRun(wanted{name: "there"})
					c := w.dialFrom(w.desk, net.JoinHostPort(w.hosts[0].ip, socketPort))
					go io.Copy(io.Discard, c)
					fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n%s\r\n\r\n", path, header)
					mib, sent := strings.Repeat(" ", 1<<20), 0
					if framing == "in chunks" {
						mib = "100000\r\n" + mib + "\r\n"
					}
					for range 1024 {
						c.SetWriteDeadline(time.Now().Add(2 * time.Minute))
						n, err := io.WriteString(c, mib)
						if sent += n; err != nil {
							break
						}
					}
					if sent > 6<<20 {
						t.Errorf("%d MiB were taken", sent>>20)
					}
					if _, took := w.hosts[0].row("there"); took > time.Second {
						t.Errorf("the list afterwards took %v", took)
					}
				})
			})
		}
	}
}

// An answer that nobody reads is given up.
func TestAnAnswerThatNobodyReadsIsGivenUp(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, w *world) {
		w.hosts[0].mustRun(wanted{name: "there"})
		c := w.dialFrom(w.desk, net.JoinHostPort(w.hosts[0].ip, socketPort))
		for range 20000 {
			c.SetWriteDeadline(time.Now().Add(time.Hour))
			if _, err := io.WriteString(c, "GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n"); err != nil {
				return
			}
		}
		t.Error("it is waited for")
	})
}

// One client who has as much under way as one may have is told so, and others go on.
func TestOneClientHasAShareOfTheConnections(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		h := w.hosts[0]
		h.start(func(c *agentConfig) { c.files = 1000 })
		w.whole()
		for range limitsOf(1000).each + 20 {
			c := w.dialFrom(w.desk, net.JoinHostPort(h.ip, socketPort))
			io.WriteString(c, "GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
		}
		time.Sleep(5 * time.Second)
		resp, err := w.web.RoundTrip(must(http.NewRequest(http.MethodGet, "http://"+net.JoinHostPort(h.ip, socketPort)+"/containers/json", nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "requests under way") {
			t.Errorf("one too many is told %d %s", resp.StatusCode, text)
		}
		began := time.Now()
		if status := h.inside().callOverTLS(w); status != http.StatusOK || time.Since(began) > time.Second {
			t.Errorf("another client is told %d after %v", status, time.Since(began))
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// callOverTLS asks the node's public port for a list, with the node's own certificate.
func (a *agent) callOverTLS(w *world) int {
	w.t.Helper()
	web := &http.Transport{DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return dialTLS(ctx, w.desk, addr, a.id.Client(identity.ProtoHTTP, ""))
	}}
	defer web.CloseIdleConnections()
	resp, err := web.RoundTrip(must(http.NewRequestWithContext(w.soon(), http.MethodGet, "https://"+a.cfg.Advertise+"/containers/json", nil)))
	if err != nil {
		w.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
