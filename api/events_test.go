package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// watcher is a client of /events.
type watcher struct {
	w     *world
	leave context.CancelFunc
	after time.Duration // that the headers took
	ended chan struct{}

	mu    sync.Mutex // guards what follows
	words []string   // "action name on host"
	times []int64
	err   error // of the end
}

// watch opens a stream of events of containers and waits for its headers.
func (h *agent) watch(query string) *watcher {
	h.w.Helper()
	ctx, leave := context.WithCancel(h.w.Context())
	req, err := http.NewRequestWithContext(ctx, get, "http://ddocker/events?"+query, nil)
	if err != nil {
		h.w.Fatal(err)
	}
	time.Sleep(time.Millisecond) // an engine may tell again what was at this very instant
	asked := time.Now()
	resp, err := h.client.RoundTrip(req)
	if err != nil {
		h.w.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		h.w.Fatalf("events?%s: %s", query, resp.Status)
	}
	e := &watcher{w: h.w, leave: leave, after: time.Since(asked), ended: make(chan struct{})}
	h.w.Cleanup(e.close)
	go e.read(resp.Body)
	return e
}

func (e *watcher) read(body io.ReadCloser) {
	defer close(e.ended)
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		var m struct {
			Type, Action string
			TimeNano     int64
			Actor        struct{ Attributes map[string]string }
		}
		e.mu.Lock()
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			e.err = err
		}
		if m.Type == "container" {
			e.words = append(e.words, m.Action+" "+m.Actor.Attributes["name"]+" on "+m.Actor.Attributes[labelNode])
			e.times = append(e.times, m.TimeNano)
		}
		e.mu.Unlock()
	}
	e.mu.Lock()
	e.err = errors.Join(e.err, lines.Err())
	e.mu.Unlock()
}

func (e *watcher) close() {
	e.leave()
	<-e.ended
}

// told returns what was told since it was last asked for.
func (e *watcher) told() []string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	words := append([]string{}, e.words...)
	e.words = nil
	return words
}

// end waits for the end of the stream.
func (e *watcher) end() error {
	<-e.ended
	return e.err
}

func eventFilter(json string) string { return "filters=" + url.QueryEscape(json) }

func (h *agent) start(name, on string) {
	h.w.Helper()
	h.create(name, `{"Image":"busybox","Labels":{"ddocker.node":"`+on+`","of":"`+on+`"}}`)
	h.want(http.StatusNoContent, "", post, "/containers/"+name+"/start", "")
}

func TestEventsOfAllHostsAreToldAsTheyHappen(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		e := w.hosts[0].watch("")
		if e.after != 0 {
			t.Errorf("the headers took %v", e.after)
		}
		for i := range 3 {
			w.hosts[2].start(fmt.Sprintf("c%d", i+1), fmt.Sprintf("n%d", i+1))
			synctest.Wait()
		}
		w.hosts[1].want(http.StatusNoContent, "", del, "/containers/c3?force=1", "")
		wantList(t, "events", e.told(), "create c1 on n1", "start c1 on n1", "create c2 on n2", "start c2 on n2",
			"create c3 on n3", "start c3 on n3", "kill c3 on n3", "die c3 on n3", "destroy c3 on n3")
	})
}

func TestEventsThatHavePassedAreMergedByTheirTime(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		since := time.Now()
		for i := range 12 {
			w.hosts[0].create(fmt.Sprintf("v%d", i), on(fmt.Sprintf("n%d", i%3+1)))
			time.Sleep(time.Second)
		}
		for query, want := range map[string]int{
			"since=" + stamp(since): 12,
			"since=" + stamp(since.Add(6*time.Second-time.Millisecond)):                                                 6,
			"since=" + since.Add(6*time.Second-time.Millisecond).UTC().Format(time.RFC3339Nano):                         6,
			"since=" + stamp(since) + "&until=" + stamp(since.Add(5*time.Second)):                                       6,
			"until=" + stamp(since.Add(5*time.Second)):                                                                  6,
			"since=" + stamp(since) + "&" + eventFilter(`{"label":["ddocker.node=n2"]}`):                                4,
			"since=" + stamp(since) + "&" + eventFilter(`{"node":{"n1":true,"id-n3":true}}`):                            8,
			"since=" + stamp(since) + "&" + eventFilter(`{"node":["nobody"]}`):                                          0,
			"since=" + stamp(since) + "&" + eventFilter(`{"event":["start"]}`):                                          0,
			"since=" + stamp(since) + "&" + eventFilter(`{"container":["v4","v5"],"type":["container"],"node":["n2"]}`): 1,
		} {
			e := w.hosts[1].watch(query)
			if got := e.told(); len(got) != want || !slices.IsSorted(e.times) {
				t.Errorf("%s: %d events, want %d: %q", query, len(got), want, got)
			}
			e.leave()
		}
	})
}

func TestEventsEndWhereTheClientAskedForIt(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		for _, until := range []time.Duration{-time.Second, 30 * time.Second} {
			began := time.Now()
			e := h.watch("until=" + stamp(began.Add(until)))
			if err := e.end(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			if took := time.Since(began); took != max(until, time.Millisecond) {
				t.Errorf("until in %v it took %v", until, took)
			}
		}
		began := time.Now()
		w.hosts[1].twin.Hang()
		for _, until := range []time.Duration{0, 30 * time.Second} {
			h.watch("since=1&until=" + stamp(began.Add(until))).end()
			if took := time.Since(began); took > until+time.Second {
				t.Errorf("with a hung host it took %v, until %v", took, until)
			}
		}
		for query, words := range map[string]string{
			"since=5&until=3": "`since` time (5) cannot be after `until` time (3)",
			"since=x":         "invalid since", "until=2020-13-01": "invalid until", "filters=x": "invalid filter",
		} {
			h.want(http.StatusBadRequest, words, get, "/v1.41/events?"+query, "")
		}
	})
}

// snapping breaks the answers of the other nodes off.
type snapping struct {
	mu   sync.Mutex // guards what follows
	open []func() error
}

func (s *snapping) snap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, close := range s.open {
		close()
	}
	s.open = nil
}

func (s *snapping) over(peer func(string) http.RoundTripper) func(string) http.RoundTripper {
	return func(id string) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := peer(id).RoundTrip(r)
			if err == nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.open = append(s.open, resp.Body.Close)
			}
			return resp, err
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEventsGoOnWhereTheyBrokeOff(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		var way snapping
		h.api.cfg.Peer = way.over(w.peer)
		for how, breakOff := range map[string]func(){
			"the engine restarts":   w.hosts[1].twin.Restart,
			"the way is broken":     way.snap,
			"own engine restarts":   h.twin.Restart,
			"the way breaks thrice": func() { way.snap(); time.Sleep(time.Second); way.snap(); time.Sleep(time.Second); way.snap() },
		} {
			name := strings.ReplaceAll(how, " ", "-")
			e := h.watch("")
			var want []string
			life := func(when string) {
				for _, host := range w.hosts {
					c := name + when + host.id
					id := read[struct{ ID string }](w, said{body: string(host.outsider(c))}).ID
					if err := host.docker.Remove(w.Context(), id, true, false); err != nil {
						t.Fatal(err)
					}
					on := strings.TrimPrefix(host.id, "id-")
					want = append(want, "create "+c+" on "+on, "destroy "+c+" on "+on)
				}
			}
			life("1")
			synctest.Wait()
			breakOff()
			life("2") // at the same instant: nobody has connected again
			time.Sleep(10 * time.Second)
			life("3")
			got := e.told()
			slices.Sort(got)
			slices.Sort(want)
			wantList(t, how, got, want...)
			e.close()
		}
	})
}

// outsider makes a container with plain docker and waits for nobody.
func (h *agent) outsider(name string) []byte {
	h.w.Helper()
	status, reply, err := h.docker.Create(h.w.Context(), name, "", []byte(`{"Image":"busybox"}`))
	if status != http.StatusCreated || err != nil {
		h.w.Fatalf("docker create %s: %d %s %v", name, status, reply, err)
	}
	return reply
}

func TestHungHostDelaysEventsOnceAndComesBack(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h, hung := w.hosts[0], w.hosts[2]
		hung.twin.Hang()
		for i, want := range []time.Duration{patience, 0} {
			e := h.watch("")
			if e.after != want {
				t.Errorf("the headers of stream %d took %v, want %v", i, e.after, want)
			}
			w.hosts[1].start(fmt.Sprintf("c%d", i), "n2")
			wantList(t, "events of the others", e.told(), fmt.Sprintf("create c%d on n2", i), fmt.Sprintf("start c%d on n2", i))
			e.close()
		}
		e := h.watch("")
		go hung.docker.Create(w.Context(), "late", "", []byte(busybox))
		time.Sleep(time.Second)
		hung.twin.Unhang()
		time.Sleep(probeEvery + resumeEvery)
		wantList(t, "events of the host that came back", e.told(), "create late on n3")
	})
}

func TestDeadHostIsTakenInAgain(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].fail()
		e := w.hosts[0].watch("")
		if e.after != 0 {
			t.Errorf("the headers took %v", e.after)
		}
		w.hosts[1].outsider("alone")
		w.mu.Lock()
		delete(w.down, "id-n2")
		w.mu.Unlock()
		time.Sleep(probeEvery + resumeEvery)
		wantList(t, "events", e.told(), "create alone on n2")
	})
}

func TestHostThatJoinsIsTakenIn(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		e, named := w.hosts[0].watch(""), w.hosts[0].watch(eventFilter(`{"node":["n2"]}`))
		w.add("n2")
		w.settle()
		w.hosts[0].start("new", "n2")
		for _, one := range []*watcher{e, named} {
			wantList(t, "events", one.told(), "create new on n2", "start new on n2")
		}
	})
}

func TestReaderWhoIsGoneLeavesNothingBehind(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		h.start("web", "n3")
		h.watch("").close() // for connections that are kept
		settled := func() int {
			for _, one := range w.hosts {
				one.peers.CloseIdleConnections()
				one.client.CloseIdleConnections()
				one.docker.Close()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			return runtime.NumGoroutine()
		}
		before := settled()
		ctx, leave := context.WithCancel(w.Context())
		for range 20 {
			for _, request := range []string{"GET /events?since=1", "GET /events", "GET /containers/web/logs?stdout=1&follow=1", "POST /containers/web/wait"} {
				method, path, _ := strings.Cut(request, " ")
				req, err := http.NewRequestWithContext(ctx, method, "http://ddocker"+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := h.client.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
			}
		}
		synctest.Wait()
		leave()
		if after := settled(); after > before {
			t.Errorf("%d goroutines before, %d afterwards", before, after)
		}
		if open := h.api.streams.from(); len(open) > 0 {
			t.Errorf("open are %v", open)
		}
	})
}

func TestSlowReaderIsCutAndToldSo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		req, err := http.NewRequestWithContext(w.Context(), get, "http://ddocker/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		quick := h.watch("")
		for i := range maxWaiting + 300 {
			if i%100 == 0 {
				synctest.Wait()
			}
			id := read[struct{ ID string }](w, said{body: string(w.hosts[1].outsider(fmt.Sprint("c", i)))}).ID
			if err := w.hosts[1].docker.Remove(w.Context(), id, true, false); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(writeTimeout + time.Second)
		if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the slow reader's stream ends with %v", err)
		}
		if got := len(quick.told()); got != 2*(maxWaiting+300) {
			t.Errorf("the quick reader was told %d events", got)
		}
	})
}

func TestToldEventsAreForgotten(t *testing.T) {
	f := feed{seen: map[string]bool{}}
	for i := range maxSeen + 10 {
		f.remember(fmt.Sprint(i))
	}
	if len(f.seen) != maxSeen || len(f.order) != maxSeen || f.seen["9"] || !f.seen["10"] {
		t.Errorf("%d and %d events are remembered", len(f.seen), len(f.order))
	}
}
