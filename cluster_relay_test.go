package main

import (
	"fmt"
	"io"
	"testing"
)

// publishes has the host's engine answer on a port with the host's address, as it does
// when a container runs that publishes it, for as long as the machine is up.
func (h *host) publishes(port int) {
	h.of.t.Helper()
	l, err := h.life.Listen(fmt.Sprint(":", port))
	if err != nil {
		h.of.t.Fatal(err)
	}
	ip := h.ip
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, ip)
			c.Close()
		}
	}()
}

// reads returns what a client gets who connects to the port of the host, or why nothing.
func (h *host) reads(port int) string {
	c, err := h.of.desk.Dial(h.of.soon(), fmt.Sprint(h.ip, ":", port))
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestEveryMachineLeadsToAPublishedPortWhereverItsMachineMoves(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		n1 := w.hosts[0]
		made := map[string]string{"web": n1.mustRun(wanted{name: "web", on: "n1", ports: 1})}
		n1.publishes(25000)
		lead := func(to string) bool { return w.hosts[1].reads(25000) == to && w.hosts[2].reads(25000) == to }
		w.eventually("n2 and n3 answer for n1", func() bool { return lead(n1.ip) })
		n1.stop()
		n1.ip = "10.0.7.1"
		n1.start()
		w.whole()
		n1.publishes(25000)
		w.eventually("n2 and n3 answer for n1 at its new address", func() bool { return lead(n1.ip) })
		w.judge(made)
	})
}
