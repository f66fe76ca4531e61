package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ddocker/test/lab"
)

const (
	racers   = 30
	allCards = 6
	oneCard  = `{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`
)

// busy is what a machine with more to do than it can makes of a cluster for a while.
var busy = regexp.MustCompile("the cluster has no leader|its Docker Engine does not answer")

// TestManyClientsRaceForFewCards has 30 clients ask three hosts for one card each, of
// which there are six: six get one, every card once, and the others are told that
// there is none. They race again when those are removed, and an agent is killed amid it.
func TestManyClientsRaceForFewCards(t *testing.T) {
	l := bare(t)
	var fitting sync.WaitGroup
	for _, h := range l.Hosts() {
		fitting.Go(func() { h.GPUs(t, "gpu model=NVIDIA TITAN Xp", "gpu model=NVIDIA TITAN Xp") })
	}
	fitting.Wait()
	l.Cluster(t)

	lab.Eventually(t, 30*time.Second, func() error { return cardsFree(l.Host(1)) })
	got, refused := race(l, func() {})
	if len(got) != allCards {
		t.Errorf("%d of %d clients got a card, want %d: the others were told %v", len(got), racers, allCards, refused)
	}
	for _, err := range refused {
		if !strings.Contains(err.Error(), "no host has") {
			t.Errorf("a client without a card was told: %v", err)
		}
	}
	onceEach(t, l, got)
	l.Host(3).DDocker(t, append([]string{"rm", "-f"}, got...)...)

	lab.Eventually(t, 30*time.Second, func() error { return cardsFree(l.Host(1)) })
	victim := l.Host(2)
	got, _ = race(l, func() { victim.KillAgent(t) })
	onceEach(t, l, got)
	victim.StartAgent(t)
	more, _ := race(l, func() {})
	onceEach(t, l, append(got, more...))
	t.Logf("%d clients got a card while an agent was killed, %d after it", len(got), len(more))
}

// cardsFree says whether the host sees all cards, and each of them free.
func cardsFree(h *lab.Host) error {
	out := h.Run("ddocker", "nodes").Stdout
	if n := strings.Count(out, "2/2 TITAN Xp"); n != allCards/2 {
		return fmt.Errorf("%d hosts have both of their cards free:\n%s", n, out)
	}
	return nil
}

// race has all clients ask at once, each of them one host, and calls amid meanwhile.
// It returns the IDs of the containers that were started, and the others' errors.
func race(l *lab.Lab, amid func()) (got []string, refused []error) {
	var mu sync.Mutex
	var racing sync.WaitGroup
	for i := range racers {
		racing.Go(func() {
			id, err := runWithCard(l.Hosts()[i%len(l.Hosts())])
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, err)
			} else {
				got = append(got, id)
			}
		})
	}
	amid()
	racing.Wait()
	return got, refused
}

func runWithCard(h *lab.Host) (id string, err error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(h.Agent(), "unix://"))
		},
	}}
	defer client.CloseIdleConnections()
	var made struct{ ID string }
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		err = post(client, "/containers/create", oneCard, &made)
		if err == nil || !busy.MatchString(err.Error()) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	return made.ID, post(client, "/containers/"+made.ID+"/start", "", nil)
}

func post(client *http.Client, path, body string, into any) error {
	reply, err := client.Post("http://host"+path, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode >= http.StatusBadRequest {
		var said struct{ Message string }
		return cmp.Or(json.NewDecoder(reply.Body).Decode(&said), errors.New(said.Message))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(reply.Body).Decode(into)
}

// onceEach fails the test unless the containers run, and no card is in two of all that
// run: as the engines have it, and as the containers see it.
func onceEach(t *testing.T, l *lab.Lab, acknowledged []string) {
	t.Helper()
	holder := map[string]string{} // of each card
	var running []string
	for _, h := range l.Hosts() {
		for _, id := range strings.Fields(h.Docker(t, "ps", "-q", "--no-trunc")) {
			running = append(running, id)
			asked := h.Docker(t, "inspect", "--format", "{{range .HostConfig.DeviceRequests}}{{.DeviceIDs}}{{end}}", id)
			card := strings.Trim(asked, "[]\n")
			if seen := h.Docker(t, "exec", id, "env"); !strings.Contains(seen, "NVIDIA_VISIBLE_DEVICES="+card+"\n") {
				t.Errorf("%s was given %s and sees:\n%s", id, card, seen)
			}
			if !strings.HasPrefix(card, "GPU-"+h.Name()+"-") || holder[card] != "" {
				t.Errorf("card %q is in %s on %s, and in %q", card, id, h.Name(), holder[card])
			}
			holder[card] = id
		}
	}
	for _, id := range acknowledged {
		if !slices.Contains(running, id) {
			t.Errorf("%s was started and does not run", id)
		}
	}
}
