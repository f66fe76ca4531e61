package api

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// context is what docker sends of a directory with this Dockerfile.
func buildContext(dockerfile string) string {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	out.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(dockerfile))})
	io.WriteString(out, dockerfile)
	out.Close()
	return b.String()
}

// build builds and returns what the host says.
func (h *agent) build(query, dockerfile string) string {
	h.w.Helper()
	req := httptest.NewRequestWithContext(h.w.Context(), post, "http://ddocker/v1.41/build?"+query, strings.NewReader(buildContext(dockerfile)))
	req.RequestURI = ""
	req.Header.Set("Content-Type", "application/x-tar")
	resp, err := h.client.RoundTrip(req)
	if err != nil {
		h.w.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.w.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(text))
}

func TestARefusedBuildHasALength(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		req := httptest.NewRequestWithContext(w.Context(), post, "http://ddocker/v1.41/build", strings.NewReader(buildContext("NONSENSE")))
		req.RequestURI = ""
		req.Header.Set("Content-Type", "application/x-tar")
		resp, err := h.client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || resp.ContentLength <= 0 {
			t.Errorf("got %d with length %d", resp.StatusCode, resp.ContentLength)
		}
	})
}

// imageNamed returns what the ledger has by the name.
func (w *world) imageNamed(name string) (i ledger.Image) {
	w.hosts[0].replica.View(func(l *ledger.Ledger) {
		if found := l.Image(name); found != nil {
			i = *found
		}
	})
	return i
}

func TestABuildMovesItsNameAsDockersDoes(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		said := w.hosts[0].build("t=app&t=app:2", "FROM busybox:latest\nRUN one")
		first := w.imageNamed("app:latest")
		if !strings.HasPrefix(said, "200 ") || strings.Contains(said, "error") || first.ID == "" || first.Owner != "alice" || w.imageNamed("app:2").ID != first.ID {
			t.Fatalf("said %s, the cluster has %+v", said, first)
		}
		w.hosts[2].create("old", `{"Image":"app","Labels":{"ddocker.node":"n3"}}`) // where the image is brought
		w.hosts[0].build("t=app", "FROM busybox:latest\nRUN two")
		second := w.imageNamed("app:latest")
		if second.ID == first.ID || w.imageNamed("app:2").ID != first.ID {
			t.Fatalf("it is still %+v", second)
		}
		w.hosts[1].create("new", `{"Image":"app","Labels":{"ddocker.node":"n3"}}`)
		if p := w.placement("new"); p.ImageID != second.ID {
			t.Errorf("a container is made of %s, not of what was built last", p.ImageID)
		}
		if p := w.placement("old"); p.ImageID != first.ID {
			t.Errorf("the old container is of %s", p.ImageID)
		}
		w.settle()
		w.hosts[1].build("t=app", "FROM busybox:latest\nRUN two") // on another host, and from its own cache again
		if again := w.imageNamed("app:latest"); again.ID != second.ID {
			t.Errorf("an equal build is %+v", again)
		}
		said = w.hosts[1].build("t=app", "FROM busybox:latest\nRUN one")
		if back := w.imageNamed("app:latest"); back.ID != first.ID {
			t.Errorf("built as at first: %+v, said %s", back, said)
		}
	})
}

func TestABuildTakesNobodysName(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].api.cfg.Caller = func(*http.Request) (Caller, error) { return Caller{Name: "bob", Role: ledger.Admin}, nil }
		w.hosts[0].build("t=app", "FROM busybox:latest\nRUN one")
		if said := w.hosts[1].build("t=app", "FROM busybox:latest\nRUN two"); !strings.HasPrefix(said, "409 ") || !strings.Contains(said, "belongs to alice") {
			t.Errorf("said %s", said)
		}
		if said := w.hosts[1].build("t=UPPER", "FROM busybox:latest"); !strings.HasPrefix(said, "400 ") {
			t.Errorf("said %s", said)
		}
		if said := w.hosts[1].build("", "FROM nothing:1"); !strings.Contains(said, "pull access denied") {
			t.Errorf("said %s", said)
		}
		if said := w.hosts[1].build("t=own", "FROM busybox:latest\nRUN two"); strings.Contains(said, "error") || w.imageNamed("own:latest").Owner != "bob" {
			t.Errorf("said %s; the name is %+v", said, w.imageNamed("own:latest"))
		}
	})
}

// upgrade opens a connection of BuildKit's through the host.
func (h *agent) upgrade(path string) (io.ReadWriteCloser, *bufio.Reader) {
	h.w.Helper()
	conn, err := h.client.DialContext(h.w.Context(), "", "")
	if err != nil {
		h.w.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", path)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: get})
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "h2c" {
		h.w.Fatalf("%s: got %v, %v", path, resp, err)
	}
	return conn, in
}

// What is built over /grpc is told to nobody but the engine.
func TestWhatBuildKitTagsIsTheClustersBeforeItIsAskedFor(t *testing.T) {
	for _, path := range []string{"/session", "/grpc"} {
		inWorld(t, 2, func(w *world) {
			h := w.hosts[0]
			h.twin.AddImage("mine:1") // before, by somebody on the host
			w.settle()
			conn, in := h.upgrade(path)
			fmt.Fprintln(conn, "hello")
			if line, err := in.ReadString('\n'); line != "hello\n" {
				t.Fatalf("%q, %v", line, err)
			}
			h.twin.AddLayered("built:1", []byte("a layer"))
			h.create("open", `{"Image":"built:1","Labels":{"ddocker.node":"n2"}}`) // while the connection is open
			if i := w.imageNamed("built:1"); i.Owner != "alice" {
				t.Errorf("the cluster has %+v", i)
			}
			first := w.imageNamed("built:1").ID
			h.twin.AddLayered("other:1", []byte("another layer"))
			h.twin.Tag("other:1", "built:1")
			conn.Close()
			synctest.Wait()
			if i := w.imageNamed("built:1"); i.ID == first || i.ID != w.imageNamed("other:1").ID {
				t.Errorf("after the session the cluster has %+v", i)
			}
			if n := len(h.api.builds.owners); n != 0 {
				t.Errorf("%d builds are still open", n)
			}
		})
	}
}

func TestABusyEngineLosesNoNameThatWasBuilt(t *testing.T) {
	for what, busy := range map[string][2]func(h *agent){
		"the engine takes its time": {func(h *agent) { h.twin.SetLatency(enginetest.Read, 3*time.Second) }, func(*agent) {}},
		"the engine hangs":          {func(h *agent) { h.twin.Hang() }, func(h *agent) { h.twin.Unhang() }},
		"there is no leader":        {func(h *agent) { h.replica.Cut(true) }, func(h *agent) { h.replica.Cut(false) }},
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				h := w.hosts[0]
				h.build("t=built:1", "FROM busybox:latest\nRUN one")
				first := w.imageNamed("built:1").ID
				conn, in := h.upgrade("/session")
				fmt.Fprintln(conn, "hello")
				in.ReadString('\n')
				h.twin.AddLayered("built:1", []byte("a layer"))
				busy[0](h)
				conn.Close()
				time.Sleep(15 * time.Second)
				busy[1](h)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if i := w.imageNamed("built:1"); i.ID == first || i.Owner != "alice" {
					t.Errorf("after the session the cluster has %+v", i)
				}
				if n := len(h.api.builds.owners); n != 0 {
					t.Errorf("%d builds are still open", n)
				}
			})
		})
	}
}

func TestPruneIsOfTheWholeCluster(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		ids := []string{}
		for i, node := range []string{"n1", "n2", "n3"} {
			name := fmt.Sprint("c", i)
			w.hosts[0].create(name, `{"Image":"busybox","Labels":{"ddocker.node":"`+node+`"},"HostConfig":{"NanoCpus":3000000000}}`)
			ids = append(ids, w.placement(name).Container)
		}
		w.hosts[0].want(204, "", post, "/containers/c0/start", "")
		type report struct {
			ContainersDeleted []string
			SpaceReclaimed    uint64
		}
		one := read[report](w, w.hosts[0].want(200, "", post, `/containers/prune?filters={"label":{"ddocker.node=n3":true}}`, ""))
		wantList(t, "pruned on n3", one.ContainersDeleted, ids[2])
		w.hosts[2].twin.Hang()
		rest := read[report](w, w.hosts[0].want(200, "", post, "/containers/prune", ""))
		wantList(t, "pruned on hosts that answer", rest.ContainersDeleted, ids[1])
		w.hosts[1].create("again", `{"Image":"busybox","Labels":{"ddocker.node":"n2"},"HostConfig":{"NanoCpus":3000000000}}`) // what they held is free
		w.hosts[0].want(200, `{"ContainersDeleted":null,"SpaceReclaimed":0}`, post, `/containers/prune?filters={"label":["no=such"]}`, "")
		w.hosts[0].want(200, `{"CachesDeleted":null,"SpaceReclaimed":0}`, post, "/build/prune", "")
		if !slices.Contains(w.hosts[0].has(), "c0") {
			t.Error("a running container is pruned")
		}
	})
}
