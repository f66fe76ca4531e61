//go:build faults

package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ddocker/crash"
	"ddocker/test/judge"
	"ddocker/test/lab"
)

// settled is how long what is half made may stay: a create that an engine accepted may
// still land meanwhile.
const settled = 4 * time.Minute

// rounds is a lab whose agents die at one step after another.
type rounds struct {
	*lab.Lab
	t      *testing.T
	made   []string // names of containers that clients were told of
	images []string // names of images, likewise
	gone   []string // names of containers whose removal clients were told of
	undone []errand // of which clients were told nothing good
	table  []string
}

// Who is what on the ways of containers and images.
const asked, holder, source = 1, 2, 3

// errand is what a client wants of the asked host.
type errand struct {
	way, name string
	do, again []string // docker's arguments, the first time and from then on
	look      []string // likewise, whether it is done; none: docker does it again then
}

// TestEveryStepOnRealEngines has an agent kill itself at each step, starts it again, has
// the client try again, and looks in the end for what is left anywhere.
func TestEveryStepOnRealEngines(t *testing.T) {
	r := &rounds{Lab: lab.Up(t, 3), t: t}
	r.Cluster(t)
	r.whole(3)
	whole := r.free()
	for i := range 3 {
		name := fmt.Sprint("work", i+1)
		r.docker(asked, "run", "-d", "--name", name, "--label", fmt.Sprint("ddocker.node=h", i+1), "busybox", "sleep", "100000")
		r.made = append(r.made, name)
	}
	beside := r.containers() // which run on when their host leaves, too
	for _, step := range crash.Steps() {
		way, _, _ := strings.Cut(string(step), ".")
		switch way {
		case "join", "leave", "vote":
			r.member(way, step)
		default:
			r.container(way, step)
		}
	}
	for _, wrong := range judge.Touched(beside, r.containers()) {
		t.Errorf("what ran beside: %s", wrong)
	}
	r.insist()
	r.left(whole)
	verdict := "nothing"
	if t.Failed() {
		verdict = "see above"
	}
	t.Logf("%-20s %-5s %s\n%s\nleft of all that: %s", "STEP", "HOST", "DIED", strings.Join(r.table, "\n"), verdict)
}

// flag is the file that keeps a host's agent from dying while it is there.
func (r *rounds) flag(host int) string { return filepath.Join(r.Dir, fmt.Sprint("h", host), "crash") }

// start starts a host's agent, which may die over it, to die at the step as soon as arm
// says so.
func (r *rounds) start(host int, step crash.Step, flags ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Script(), append([]string{"agent", fmt.Sprint(host)}, flags...)...)
	cmd.Env = append(os.Environ(), r.Env()...)
	if step != "" {
		cmd.Env = append(cmd.Env, "DDOCKER_CRASH="+string(step)+"@"+r.flag(host))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// lying is what has the host's agent speak to its engine by way of one that says, the first
// time that it has done what a request to the path wants, that it has failed.
func (r *rounds) lying(host int, path string) []string {
	r.t.Helper()
	dir := r.t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		r.t.Fatal(err)
	}
	var once atomic.Bool
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.URL.Host = "http", "docker" },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(r.Host(host).Engine(), "unix://"))
		}},
		ModifyResponse: func(resp *http.Response) error {
			if !strings.HasSuffix(resp.Request.URL.Path, path) || resp.StatusCode >= http.StatusBadRequest || once.Swap(true) {
				return nil
			}
			_, err := io.Copy(io.Discard, resp.Body) // by its end, it is done
			return cmp.Or(err, errors.New("it is done, and this engine does not say so"))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		},
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go server.Serve(l)
	r.t.Cleanup(func() { server.Close() })
	return []string{"--docker-host", "unix://" + l.Addr().String()}
}

// mine has the host's agent run with the step in its way, not armed yet.
func (r *rounds) mine(host int, step crash.Step, flags ...string) {
	os.WriteFile(r.flag(host), nil, 0o600)
	r.Host(host).KillAgent(r.t)
	if err := r.start(host, step, flags...); err != nil {
		r.t.Fatal(err)
	}
	r.whole(3)
}

// armed says whether the host's agent has not died yet.
func (r *rounds) armed(host int) bool {
	_, err := os.Stat(r.flag(host))
	return err != nil
}

// container goes a way of containers or images, asked h1, for h2; h3 has the image.
func (r *rounds) container(way string, step crash.Step) {
	dies := asked
	switch step {
	case crash.CreateBegun, crash.CreateMaking, crash.CreateMade, crash.CreateConfirmed, crash.CreateRefused, crash.CreateReleased,
		crash.RemoveBegun, crash.RemoveDone, crash.RemoveReleased,
		crash.CreateSpoiled, crash.CreateWithdrawn,
		crash.CommitBegun, crash.CommitMade, crash.CommitNamed, crash.CommitRefused, crash.CommitUnclaimed,
		crash.ImageWanted, crash.ImageNoting, crash.ImageNoted, crash.ImageComing, crash.ImageLoaded, crash.ImagePublished, crash.ImageNamed, crash.ImageKept,
		crash.ImageFailed, crash.ImageScrapped,
		crash.LogApplied:
		dies = holder
	case crash.ImageDescribing, crash.ImageSending:
		dies = source
	case crash.LogAsked, crash.LogCommitted:
		dies = r.leader()
	}
	var flags []string
	switch step {
	case crash.CreateSpoiled, crash.CreateWithdrawn:
		flags = r.lying(holder, "/containers/create")
	case crash.ImageFailed, crash.ImageScrapped:
		flags = r.lying(holder, "/images/load")
	}
	r.mine(dies, step, flags...)
	e := r.errand(way, step)
	off := step == crash.CreateUnreached || step == crash.CreateUnreserved
	if off {
		r.handOver(asked) // so that nobody has to be elected first, while the holder is missed
		r.Host(holder).KillAgent(r.t)
	}
	os.Remove(r.flag(dies))
	first := r.ask(e.do...)
	r.died(step, dies)
	if err := r.start(dies, ""); err != nil {
		r.t.Error(err)
	}
	if off {
		r.Host(holder).StartAgent(r.t)
	}
	r.whole(3)
	if first.Code == 0 {
		r.told(e)
		return
	}
	err := r.try(e)
	r.t.Logf("%s: first %s, then %v", step, strings.TrimSpace(first.Stderr), err)
	if err != nil {
		r.undone = append(r.undone, e)
	}
}

// errand makes what is there before anybody dies, and says what is to be done then. Some
// steps are reached only where the engine refuses; the next time it has no reason to.
func (r *rounds) errand(way string, step crash.Step) errand {
	e := errand{way: way, name: strings.ReplaceAll(string(step), ".", "-")}
	e.look = []string{"container", "inspect", e.name}
	create := []string{"create", "--name", e.name, "--label", "ddocker.node=h2", "-p", "80"}
	switch way {
	case "create", "log":
		e.again = append(create, "busybox")
		if step == crash.CreateRefused || step == crash.CreateReleased {
			e.do = append(create, "--mount", "type=bind,source=/nowhere,target=/x", "busybox")
		}
	case "rm":
		r.docker(asked, append(create, "busybox")...)
		e.again, e.look = []string{"rm", "-f", e.name}, nil
	case "commit":
		e.again, e.look = []string{"commit", "work2", e.name}, []string{"image", "inspect", e.name}
		if step == crash.CommitRefused || step == crash.CommitUnclaimed {
			e.do = []string{"commit", "--change", "ENV", "work2", e.name}
		}
	case "image":
		r.docker(source, "exec", "work3", "dd", "if=/dev/urandom", "of=/"+e.name, "bs=1M", "count=4")
		r.docker(source, "commit", "work3", e.name)
		r.images = append(r.images, e.name)
		e.again = append(create, e.name)
	}
	if e.do == nil {
		e.do = e.again
	}
	return e
}

// told remembers what a client was told is done.
func (r *rounds) told(e errand) {
	switch e.way {
	case "rm":
		r.gone = append(r.gone, e.name)
	case "commit":
		r.images = append(r.images, e.name)
	default:
		r.made = append(r.made, e.name)
	}
}

// try has a client try again. One that is refused looks whether it has what it wants: that
// it was not told the first time does not mean that it was not done.
func (r *rounds) try(e errand) error {
	got := r.ask(e.again...)
	if got.Code != 0 && (e.look == nil || r.ask(e.look...).Code != 0) {
		return errors.New(strings.TrimSpace(got.Stderr))
	}
	r.told(e)
	return nil
}

// insist has the clients try until they have what they wanted, as long as what is half made
// may stay.
func (r *rounds) insist() {
	ctx, cancel := context.WithTimeout(r.t.Context(), settled)
	defer cancel()
	for _, e := range r.undone {
		if err := lab.Poll(ctx, func() error { return r.try(e) }); err != nil {
			r.t.Errorf("%s is never done: %v", e.name, err)
		}
	}
}

// died waits for the end of a host's agent.
func (r *rounds) died(step crash.Step, host int) {
	word := "yes"
	for end := time.Now().Add(20 * time.Second); r.armed(host); {
		if time.Now().After(end) {
			word = "no"
			r.t.Errorf("h%d does not come to %s", host, step)
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	r.Host(host).KillAgent(r.t) // or nothing, if it did
	r.table = append(r.table, fmt.Sprintf("%-20s h%-4d %s", step, host, word))
}

// member has h3 leave and join again, while an agent dies.
func (r *rounds) member(way string, step crash.Step) {
	dies := 3
	while := "join"
	r.voting()
	if way == "leave" {
		while = "leave"
	}
	r.handOver(1)
	switch step {
	case crash.JoinSigned, crash.JoinAdmitted:
		dies = 1
	case crash.LeaveKeyKept:
		dies = 1
	case crash.VoteAdding, crash.VoteAdded, crash.VotePromoting, crash.VotePromoted, crash.VoteLearnt:
		dies = 1
	case crash.VoteDemoting, crash.VoteDemoted, crash.VoteRemoving, crash.VoteRemoved:
		dies, while = 1, "leave"
	case crash.VoteYielding, crash.VoteYielded:
		while = "leave"
	}
	os.WriteFile(r.flag(3), nil, 0o600)
	if while == "leave" {
		r.mine(dies, step)
		r.handOver(dies)
		if step == crash.LeaveKeyKept {
			os.Remove(filepath.Join(r.Dir, "h1", "state", "ca-key.pem"))
			os.Remove(filepath.Join(r.Dir, "h2", "state", "ca-key.pem"))
		}
		os.Remove(r.flag(dies))
		r.Host(3).Run("ddocker", "leave", "--force")
		r.died(step, dies)
		r.start(dies, "") // which a host that has left refuses
	}
	lab.Eventually(r.t, time.Minute, func() error {
		if !strings.Contains(r.Host(2).Run("ddocker", "nodes", "-q").Stdout, "h3") {
			return nil
		}
		return errors.New(fmt.Sprint(step, ": ", r.Host(3).Run("ddocker", "leave", "--force")))
	})
	r.Host(3).KillAgent(r.t)
	if while == "join" && dies != 3 {
		os.WriteFile(r.flag(dies), nil, 0o600)
		r.Host(dies).KillAgent(r.t)
		if err := r.start(dies, step); err != nil {
			r.t.Fatal(err)
		}
		r.whole(2)
		r.handOver(dies)
	}
	token := strings.TrimSpace(r.Host(1).DDocker(r.t, "token"))
	join := []string{"--join", r.address(1), "--token", token}
	if while == "join" {
		os.Remove(r.flag(dies))
		if dies == 3 {
			r.start(3, step, join...)
		} else {
			go r.start(3, "", join...)
		}
		r.died(step, dies)
		if dies != 3 {
			r.start(dies, "")
		}
	}
	lab.Eventually(r.t, time.Minute, func() error {
		if r.Host(3).Run("ddocker", "nodes", "-q").Code == 0 {
			return nil
		}
		return r.start(3, "", join...)
	})
	r.whole(3)
}

// ask has docker ask the cluster by h1.
func (r *rounds) ask(args ...string) lab.Result {
	return r.Host(asked).Run(append([]string{"docker", "-H", r.Host(asked).Agent()}, args...)...)
}

func (r *rounds) docker(host int, args ...string) string {
	r.t.Helper()
	got := r.Host(host).Run(append([]string{"docker", "-H", r.Host(host).Agent()}, args...)...)
	if got.Code != 0 {
		r.t.Fatalf("docker %v: %s", args, got.Stderr)
	}
	return got.Stdout
}

func (r *rounds) containers() map[string]judge.Container {
	r.t.Helper()
	all, err := judge.New(r.Lab).Containers(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// whole waits until each of so many hosts sees as many alive.
func (r *rounds) whole(n int) {
	r.t.Helper()
	lab.Eventually(r.t, 2*time.Minute, func() error {
		for i := range n {
			got := r.Host(i+1).Run("ddocker", "nodes", "--format", "{{.State}}")
			if got.Stdout != strings.Repeat("alive\n", n) {
				return fmt.Errorf("h%d sees %q %s", i+1, got.Stdout, got.Stderr)
			}
		}
		return nil
	})
}

// voting waits until all three vote: what has just joined does so after some seconds.
func (r *rounds) voting() {
	lab.Eventually(r.t, time.Minute, func() error {
		roles := r.Host(1).Run("ddocker", "nodes", "--format", "{{.Role}}").Stdout
		if strings.Count(roles, "leader")+strings.Count(roles, "voter")-strings.Count(roles, "nonvoter") == 3 {
			return nil
		}
		return errors.New(roles)
	})
}

func (r *rounds) leader() int {
	for i := range 3 {
		if strings.Contains(r.Host(i+1).Run("ddocker", "nodes", "--format", "{{.Name}} {{.Role}}").Stdout, fmt.Sprintf("h%d leader", i+1)) {
			return i + 1
		}
	}
	return 1
}

// handOver has the host lead, if it votes.
func (r *rounds) handOver(host int) {
	lab.Eventually(r.t, time.Minute, func() error {
		if r.leader() == host {
			return nil
		}
		return errors.New(r.Host(host).Run("ddocker", "raft", "transfer-leader", fmt.Sprint("h", host)).Stderr)
	})
}

func (r *rounds) address(host int) string {
	return strings.TrimSpace(r.Host(host).Run("ddocker", "nodes", "--format", fmt.Sprintf("{{if eq .Name \"h%d\"}}{{.Address}}{{end}}", host)).Stdout)
}

// free is what every host has free, of all it has.
func (r *rounds) free() string {
	return r.Host(1).DDocker(r.t, "nodes", "--format", "{{.Name}} {{.Cores}} {{.Memory}}")
}

// acknowledged compares what clients were told with what there is, and looks that nothing
// was given to two of them.
func (r *rounds) acknowledged(listed []string) {
	for _, name := range r.made {
		if !slices.Contains(listed, name) {
			r.t.Errorf("%s was acknowledged and is not listed", name)
		}
	}
	for _, name := range r.gone {
		if slices.Contains(listed, name) {
			r.t.Errorf("the removal of %s was acknowledged, and it is listed", name)
		}
	}
	for i, h := range r.Hosts() {
		has := strings.Fields(r.docker(i+1, "images", "--format", "{{.Repository}}"))
		for _, name := range r.images {
			if !slices.Contains(has, name) {
				r.t.Errorf("the image %s was acknowledged, and %s does not list it", name, h.Name())
			}
		}
	}
	lab.Eventually(r.t, settled, func() error {
		wrong, err := judge.New(r.Lab).Wrong(r.t.Context())
		wrong = slices.DeleteFunc(wrong, func(what string) bool { // h3 has left, and what it ran is a stranger
			return strings.Contains(what, "the engine of h3 has work3 of placement ")
		})
		if len(wrong) > 0 {
			err = errors.New(strings.Join(wrong, "\n"))
		}
		return err
	})
	r.t.Logf("acknowledged: %d containers, %d removals, %d images", len(r.made), len(r.gone), len(r.images))
}

// left looks for what is left where nothing should be.
func (r *rounds) left(whole string) {
	lab.Eventually(r.t, settled, func() error {
		var have []string
		for _, h := range r.Hosts() {
			have = append(have, strings.Fields(h.Docker(r.t, "ps", "-a", "--format", "{{.Names}}"))...)
		}
		slices.Sort(have)
		for _, h := range r.Hosts() {
			listed := strings.Fields(h.DDocker(r.t, "ps", "-a", "--format", "{{.Names}}"))
			slices.Sort(listed)
			if !slices.Equal(listed, have) {
				return fmt.Errorf("%s lists %v, the engines have %v", h.Name(), listed, have)
			}
		}
		return nil
	})
	listed := strings.Fields(r.Host(2).DDocker(r.t, "ps", "-a", "--format", "{{.Names}}"))
	r.acknowledged(listed)
	for _, name := range listed {
		r.Host(2).DDocker(r.t, "rm", "-f", name)
	}
	lab.Eventually(r.t, settled, func() error {
		if now := r.free(); now != whole {
			return fmt.Errorf("free at first:\n%sfree in the end:\n%s", whole, now)
		}
		return nil
	})
	for i, h := range r.Hosts() {
		if nameless := h.Docker(r.t, "images", "-q", "--filter", "dangling=true"); nameless != "" {
			r.t.Errorf("%s has images without a name: %s", h.Name(), nameless)
		}
		filepath.WalkDir(filepath.Join(r.Dir, fmt.Sprint("h", i+1), "state"), func(path string, d os.DirEntry, err error) error {
			text, _ := os.ReadFile(path)
			base := filepath.Base(path)
			if err == nil && !d.IsDir() && (strings.HasSuffix(base, ".new") || strings.HasPrefix(base, ".") || strings.Contains(path, "/images/") && strings.Contains(string(text), "loading") && !strings.Contains(string(text), "missed")) {
				r.t.Errorf("on the disk of %s is left %s", h.Name(), path)
			}
			return nil
		})
		if voters := strings.Count(h.DDocker(r.t, "raft", "peers", "-q"), "\n"); voters != 3 {
			r.t.Errorf("%s knows %d servers of raft", h.Name(), voters)
		}
	}
}
