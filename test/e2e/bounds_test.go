package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

// TestFewDescriptors has an agent with 64 descriptors live through crowds of clients.
func TestFewDescriptors(t *testing.T) {
	l := bare(t)
	start := exec.Command("sh", "-c", "ulimit -n 64; exec "+l.Script()+" agent 1")
	start.Env = append(os.Environ(), l.Env()...)
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h := l.Host(1)
	process := agentProcess(t, l, h)
	before := resident(t, process)
	socket := strings.TrimPrefix(h.Agent(), "unix://")
	const request = "GET /events HTTP/1.1\r\nHost: d\r\n\r\n"
	for _, crowd := range []struct{ name, says, refused string }{
		{"who say nothing", "", ""},
		{"who never come to an end", "GET /events HTTP/1.1\r\nX: ", ""},
		{"who follow events", request, "requests under way"},
		{"who send a body of 1 GB", "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n" + strings.Repeat(" ", 64<<10), "requests under way"},
	} {
		t.Run(crowd.name, func(t *testing.T) {
			var conns []net.Conn
			for range 100 {
				c, err := net.DialTimeout("unix", socket, 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
				c.SetWriteDeadline(time.Now().Add(5 * time.Second))
				io.WriteString(c, crowd.says) // an error is one who is refused already
			}
			lab.Eventually(t, 5*time.Second, func() error {
				r := h.Run("docker", "-H", h.Agent(), "ps")
				if crowd.refused == "" && r.Code == 0 || crowd.refused != "" && strings.Contains(r.Stderr, crowd.refused) {
					return nil
				}
				return fmt.Errorf("docker ps amid them: exit code %d: %s", r.Code, r.Stderr)
			})
			if open := descriptors(t, process); open > 60 {
				t.Errorf("%d descriptors are open", open)
			}
			for _, c := range conns {
				c.Close()
			}
			lab.Eventually(t, 5*time.Second, func() error {
				if r := h.Run("docker", "-H", h.Agent(), "run", "--rm", "busybox", "true"); r.Code != 0 {
					return fmt.Errorf("docker run after them: %s", r.Stderr)
				}
				return nil
			})
		})
	}
	if after := resident(t, process); after > before+64 {
		t.Errorf("the agent grew from %d to %d MiB", before, after)
	}
}
