package api

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// home is a directory of the host's with bob's home and alice's in it.
func home(t *testing.T) (root string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bob/work", "alice/keys"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// point makes a link, in the place of what is there.
func point(t *testing.T, from, to string) {
	t.Helper()
	os.RemoveAll(from)
	if err := os.Symlink(to, from); err != nil {
		t.Fatal(err)
	}
}

func (w *world) root(dir string, options ...string) {
	w.Helper()
	s := settings.Default()
	s.ImageReplicas, s.BindRoots, s.Options = 1, []string{dir + "/{user}"}, options
	s.Types = offers().Types
	w.configure(s)
}

func binds(list ...string) string {
	return `{"Image":"busybox","Labels":{"ddocker.node":"n1"},"HostConfig":{"Binds":["` + strings.Join(list, `","`) + `"]}}`
}

func TestUsersMountWhatIsBelowTheirRoots(t *testing.T) {
	root := home(t)
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		w.root(root)
		w.as("bob", ledger.Member)
		h.create("mine", binds(root+"/bob:/home/bob"))
		h.want(204, "", post, "/containers/mine/start", "")
		h.create("later", binds(root+"/bob/is/made/by/the/engine:/x"))
		h.want(403, "bind_roots", post, "/containers/create?name=evil", binds(root+"/alice:/x"))
		h.want(403, "bind_roots", post, "/containers/create?name=evil", binds(root+"/bob/../alice:/x"))

		point(t, root+"/bob/inside", root+"/bob/work")
		h.create("inside", binds(root+"/bob/inside:/x"))
		for name, to := range map[string]string{"link": root + "/alice", "up": "../alice/keys", "all": "/"} {
			point(t, root+"/bob/"+name, to)
			h.want(403, "mount on host n1: "+root+"/bob/"+name+", or where it leads, is not for users", post, "/containers/create?name=evil", binds(root+"/bob/"+name+":/x"))
			h.want(403, "", post, "/containers/create?name=evil", binds(root+"/bob/"+name+"/etc/new:/x"))
			h.want(403, "", post, "/containers/create?name=evil", `{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"bind","Source":"`+root+`/bob/`+name+`","Target":"/x"}]}}`)
		}
		point(t, root+"/bob/nowhere", root+"/alice/new")
		h.want(403, "or where it leads, is not for users", post, "/containers/create?name=evil", binds(root+"/bob/nowhere:/x"))
		point(t, root+"/bob/ring", root+"/bob/ring")
		h.want(403, "or where it leads, is not for users", post, "/containers/create?name=evil", binds(root+"/bob/ring:/x"))
		if p := w.placement("evil"); p != nil {
			t.Errorf("what was refused holds %+v", p)
		}
	})
}

func TestMountsAreLookedAtAgainAtEveryStart(t *testing.T) {
	root := home(t)
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1] // the way there is through another host, too
		w.root(root)
		w.as("bob", ledger.Member)
		h.create("web", binds(root+"/bob/work:/work"))
		h.create("heir", `{"Image":"busybox","HostConfig":{"VolumesFrom":["web"]}}`)
		other.want(204, "", post, "/containers/web/start", "")
		other.want(204, "", post, "/containers/web/stop", "")
		point(t, root+"/bob/work", "/etc")
		for _, path := range []string{"/containers/web/start", "/containers/web/restart", "/containers/heir/start"} {
			other.want(403, "mount on host n1: "+root+"/bob/work, or where it leads, is not for users", post, path, "")
		}
		os.Remove(root + "/bob/work")
		other.want(204, "", post, "/containers/web/start", "")
		other.want(204, "", post, "/containers/web/stop", "")
		w.root("/srv") // which takes it back
		other.want(403, root+"/bob/work, or where it leads, is not for users", post, "/containers/web/start", "")
		w.propose(ledger.Command{AddUser: &ledger.AddUser{Name: "bob", Role: ledger.Admin}})
		other.want(204, "", post, "/containers/web/start", "")
	})
}

func TestWhatTheAdministratorGivesToAllIsMounted(t *testing.T) {
	root := home(t)
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		point(t, root+"/sets", root+"/alice")
		w.root(root, "-v "+root+"/sets:/sets", "-v /var/run/docker.sock:/var/run/docker.sock", "-v common:/common", "--cap-add SYS_PTRACE", "--privileged")
		h.create("hers", `{"Image":"busybox","Labels":{"ddocker.type":"0"}}`)
		w.as("bob", ledger.Member)
		h.create("typed", `{"Image":"busybox","Labels":{"ddocker.type":"0"}}`)
		wantList(t, "binds", h.inspect("typed").HostConfig.Binds, root+"/sets:/sets", "/var/run/docker.sock:/var/run/docker.sock", "common:/common")
		h.want(204, "", post, "/containers/typed/start", "")
		h.want(403, "bind_roots", post, "/containers/create?name=evil", binds(root+"/sets:/sets"))
		h.want(403, "bind_roots", post, "/containers/create?name=evil", binds("/var/run/docker.sock:/var/run/docker.sock"))
		h.want(403, "volume common is", post, "/containers/create?name=evil", binds("common:/x"))
	})
}

// A disk that does not answer costs a bounded wait, and no more than some of the
// agent's threads.
func TestLooksAtDisksAreBounded(t *testing.T) {
	l := &Local{looking: make(chan struct{}, 1)}
	if at, err := l.leads(context.Background(), "/"); at != "/" || err != nil {
		t.Errorf("got %s, %v", at, err)
	}
	l.looking <- struct{}{}
	if _, err := l.leads(context.Background(), "/"); err == nil || !strings.Contains(err.Error(), "too many looks") {
		t.Errorf("got %v", err)
	}
}

func TestAContainerThatItsEngineStartsByItselfIsLookedAtToo(t *testing.T) {
	root := home(t)
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		w.root(root)
		h.create("hers", binds("/etc:/x"))
		w.as("bob", ledger.Member)
		h.create("web", binds(root+"/bob/work:/work"))
		running := func(name string) bool {
			return read[struct{ State struct{ Running bool } }](w, h.want(200, "", get, "/containers/"+name+"/json", "")).State.Running
		}
		start := func(name string) {
			req, err := http.NewRequestWithContext(w.Context(), post, "http://ddocker/containers/"+name+"/start", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := h.docker.RoundTripper().RoundTrip(req)
			if err != nil || resp.StatusCode != 204 {
				t.Fatalf("got %v, %v", resp, err)
			}
			resp.Body.Close()
			w.settle()
		}
		start("hers")
		start("web")
		if !running("hers") || !running("web") {
			t.Error("what may run was killed")
		}
		h.want(204, "", post, "/containers/web/stop", "")
		point(t, root+"/bob/work", "/etc")
		start("web")
		if running("web") {
			t.Error("what may not run runs")
		}
	})
}
