package main

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"ddocker/crash"
	"ddocker/engine/enginetest"
)

// readyCreate has the step come: some are reached only where something goes wrong.
func (m *matrix) readyCreate(p passage) {
	switch p.step {
	case crash.CreateRefused, crash.CreateReleased:
		p.on.outsider(p.name, "", "") // of which the cluster has not heard yet
	case crash.CreateSpoiled, crash.CreateWithdrawn:
		p.on.twin.FailAfterSuccess(enginetest.Create)
	case crash.CreateUnreached, crash.CreateUnreserved:
		p.on.kill()
	}
}

// create has a container made and started.
func (m *matrix) create(p passage) error {
	if p.again && (p.step == crash.CreateRefused || p.step == crash.CreateReleased) {
		if c, err := p.on.engine().ContainerInspect(m.soon(), p.name); err == nil && c.Config.Labels["ddocker.placement"] == "" {
			p.on.engine().ContainerRemove(m.soon(), c.ID, container.RemoveOptions{Force: true})
		}
	}
	return m.createOf(p, "")
}

// createOf does so of an image. Whoever is told that the name is taken looks who has it.
func (m *matrix) createOf(p passage, image string) error {
	ctx := m.soon()
	id, err := p.by.create(ctx, wanted{name: p.name, ports: 1, gpus: 1, on: p.on.name, image: image})
	if err != nil {
		c, missing := p.by.docker().ContainerInspect(ctx, p.name)
		if missing != nil || c.Config.Labels["ddocker.placement"] == "" {
			return errors.Join(err, missing)
		}
		id = c.ID
	}
	m.made[p.name] = id
	return p.by.docker().ContainerStart(ctx, id, container.StartOptions{})
}

func (m *matrix) readyRemove(p passage) {
	m.doomed = p.by.mustRun(wanted{name: p.name, ports: 1, gpus: 1, on: p.on.name})
}

// remove has a container removed.
func (m *matrix) remove(p passage) error {
	err := p.by.docker().ContainerRemove(m.soon(), p.name, container.RemoveOptions{Force: true})
	if err == nil || cerrdefs.IsNotFound(err) {
		m.gone[m.doomed] = p.name
		return nil
	}
	return err
}

// beginCommit has a container to commit on each machine.
func (m *matrix) beginCommit() {
	for _, h := range m.hosts {
		m.made["work-"+h.name] = h.mustRun(wanted{name: "work-" + h.name, on: h.name})
	}
}

// commit has an image made of a container.
func (m *matrix) commit(p passage) error {
	body := ""
	if !p.again && (p.step == crash.CommitRefused || p.step == crash.CommitUnclaimed) {
		body = `{"Hostname": 1}` // which an engine refuses
	}
	if body != "" {
		req, err := http.NewRequestWithContext(m.soon(), http.MethodPost,
			"http://"+net.JoinHostPort(p.by.ip, socketPort)+"/commit?container=work-"+p.on.name+"&repo="+p.name, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := m.web.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return cmp.Or(err, errors.New(string(text)))
	}
	id, err := p.by.commit(m.soon(), "work-"+p.on.name, p.name)
	if err != nil {
		i, missing := p.by.docker().ImageInspect(m.soon(), p.name)
		if missing != nil {
			return errors.Join(err, missing)
		}
		id = i.ID
	}
	m.images[p.name+":latest"] = id
	return nil
}

// readyImage has the step come that is reached only where a load goes wrong.
func (m *matrix) readyImage(p passage) {
	if p.step == crash.ImageFailed || p.step == crash.ImageScrapped {
		p.on.twin.FailAfterSuccess(enginetest.Load)
	}
}

// createFrom has a container made of an image that has just come to another machine.
func (m *matrix) createFrom(p passage) error {
	if name := p.name + ":latest"; !p.again {
		at := slices.IndexFunc(m.hosts, func(h *host) bool { return h != p.by && h != p.on })
		m.images[name] = m.hosts[at].twin.AddLayered(name, []byte(name), []byte("and "+name))
		for try := 0; p.by.isUp() && p.by.meaning(name) == "" && try < 50; try++ {
			time.Sleep(100 * time.Millisecond)
		}
	}
	return m.createOf(p, p.name)
}

// meaning returns what h's ledger has of the name of an image, or "".
func (h *host) meaning(name string) string {
	if h.inside() == nil {
		return ""
	}
	return h.names()[name]
}
