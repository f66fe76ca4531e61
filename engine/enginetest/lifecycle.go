package enginetest

import (
	"net/http"
	"strings"
	"time"
)

// killed is the exit code of a container that was stopped or killed.
const killed = 137

// startBox is POST /containers/{id}/start.
func (t *Twin) startBox(_ call, b *box) reply {
	if b.running {
		return reply{http.StatusNotModified, nil}
	}
	if name := t.missing(b); name != "" {
		return refuse(http.StatusNotFound, "network %s not found", name)
	}
	if r := t.acquire(b); r != nil {
		b.exit, b.failure = 128, r.body.(map[string]string)["message"]
		return *r
	}
	if r := programless(b); r != nil {
		t.release(b)
		b.exit, b.failure = 127, r.body.(map[string]string)["message"]
		return *r
	}
	t.pids++
	b.running, b.started, b.finished, b.exit, b.failure, b.pid = true, time.Now(), time.Time{}, 0, "", t.pids
	t.judge(b)
	t.tell(b, "start")
	if code, ran := b.run(); ran {
		t.end(b, code)
	}
	return reply{http.StatusNoContent, nil}
}

// run does what its command says at once, if the twin knows how to.
func (b *box) run() (code int, ran bool) {
	p := program{tty: b.config.Tty, args: b.command()}
	if !p.known() {
		return 0, false
	}
	var out strings.Builder
	code = p.run(strings.NewReader(""), &out)
	b.out = append(b.out, out.String()...)
	return code, true
}

// end is a container's exit. It lets go of what the container held.
func (t *Twin) end(b *box, code int) {
	b.running, b.finished, b.exit, b.pid = false, time.Now(), code, 0
	t.release(b)
	inform(&b.untilExit, code)
	t.tell(b, "die")
	if b.host.AutoRemove {
		t.destroy(b)
	}
}

// stopBox is POST /containers/{id}/stop.
func (t *Twin) stopBox(_ call, b *box) reply {
	if !b.running {
		return reply{http.StatusNotModified, nil}
	}
	t.tell(b, "kill")
	t.end(b, killed)
	t.tell(b, "stop")
	return reply{http.StatusNoContent, nil}
}

// killBox is POST /containers/{id}/kill.
func (t *Twin) killBox(c call, b *box) reply {
	if !b.running {
		return refuse(http.StatusConflict, "Cannot kill container: %s: Container %s is not running", c.PathValue("id"), b.id)
	}
	t.tell(b, "kill")
	switch strings.TrimPrefix(strings.ToUpper(c.FormValue("signal")), "SIG") {
	case "", "KILL", "TERM", "INT", "QUIT", "9", "15", "2", "3":
		t.end(b, killed)
	}
	return reply{http.StatusNoContent, nil}
}

// remove is DELETE /containers/{id}.
func (t *Twin) remove(c call, b *box) reply {
	if b.running {
		if !c.flag("force") {
			return refuse(http.StatusConflict, "You cannot remove a running container %s. Stop the container before attempting removal or force remove", b.id)
		}
		t.tell(b, "kill")
		t.end(b, killed)
	}
	t.destroy(b)
	return reply{http.StatusNoContent, nil}
}

// destroy may be asked for twice: by AutoRemove and by a caller.
func (t *Twin) destroy(b *box) {
	if t.containers[b.id] == nil {
		return
	}
	delete(t.containers, b.id)
	delete(t.names, b.name)
	for _, id := range b.execs {
		delete(t.execs, id)
	}
	if t.images[b.image.id] == nil { // removed by force, while its layers were needed
		t.drop(b.image.layers)
	}
	inform(&b.untilRm, b.exit)
	inform(&b.untilExit, b.exit)
	t.tell(b, "destroy")
}

func inform(whom *[]chan int, code int) {
	for _, ch := range *whom {
		ch <- code // it has room for this one value
	}
	*whom = nil
}
