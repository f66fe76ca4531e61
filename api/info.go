package api

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"

	"ddocker/consensus/ledger"
)

// ping says that the cluster is there, and the newest API version that all of it
// speaks: docker asks before everything else.
func (a *API) ping(w http.ResponseWriter, c *call) {
	h := w.Header()
	if speaks := a.hosts.common(c.Context()); speaks.newest != "" {
		h.Set("Api-Version", speaks.newest)
	}
	h.Set("Docker-Experimental", "false")
	h.Set("Ostype", "linux")
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if c.Method == head {
		h.Set("Content-Length", "0")
		return
	}
	io.WriteString(w, "OK")
}

// version is this node's engine's, in the API versions that all of the cluster speaks,
// with ddocker named among its components.
func (a *API) version(w http.ResponseWriter, c *call) {
	body, err := a.hosts.get(c.Context(), a.cfg.Self, c.to(""), nil)
	var v row
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		fail(w, http.StatusBadGateway, "the Docker Engine of %s does not answer: %s", a.cfg.Name, err)
		return
	}
	var components []json.RawMessage
	json.Unmarshal(v["Components"], &components)
	speaks := a.hosts.common(c.Context())
	for i := range components {
		components[i] = speaks.inComponent(components[i])
	}
	if speaks.newest != "" {
		v["ApiVersion"], v["MinAPIVersion"] = raw(speaks.newest), raw(speaks.oldest)
	}
	v["Components"] = raw(append(components, raw(map[string]any{
		"Name": "ddocker", "Version": a.cfg.Version, "Details": map[string]string{"Node": a.cfg.Name},
	})))
	reply(w, http.StatusOK, v)
}

// info is this node's engine's, with the sums of all engines, and with what the daemon that
// is asked, which is this agent, takes of its machine.
func (a *API) info(w http.ResponseWriter, c *call) {
	sums := map[string]int64{"Containers": 0, "ContainersRunning": 0, "ContainersPaused": 0, "ContainersStopped": 0, "NCPU": 0, "MemTotal": 0}
	var mine row
	runtimes := row{}
	var status [][2]string
	var warnings []string
	for _, one := range a.hosts.each(c.Context(), c.to(""), nil) {
		var info row
		if one.err != nil || json.Unmarshal(one.body, &info) != nil {
			warnings = append(warnings, fmt.Sprintf("WARNING: host %s is unreachable", one.name))
			status = append(status, [2]string{one.name, "unreachable"})
			continue
		}
		if mine == nil || one.id == a.cfg.Self {
			mine = info
		}
		var own row
		json.Unmarshal(info["Runtimes"], &own)
		maps.Copy(runtimes, own)
		for key := range sums {
			var n int64
			json.Unmarshal(info[key], &n)
			sums[key] += n
		}
		status = append(status, [2]string{one.name, "up"})
	}
	if mine == nil {
		fail(w, http.StatusBadGateway, "the Docker Engine of %s does not answer", a.cfg.Name)
		return
	}
	for key, n := range sums {
		mine[key] = raw(n)
	}
	mine["Images"], mine["Runtimes"] = raw(a.imageCount()), raw(runtimes) // a container goes where there is the one that it asks for
	var own []string
	json.Unmarshal(mine["Warnings"], &own)
	mine["Warnings"], mine["SystemStatus"] = raw(append(own, warnings...)), raw(status)
	mine["NGoroutines"], mine["NFd"] = raw(runtime.NumGoroutine()), raw(openFiles())
	reply(w, http.StatusOK, mine)
}

// openFiles is how many files and connections this process has open; -1: that is not known,
// which is what an engine says.
func openFiles() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(open)
}

// imageCount counts the images of all hosts, each once.
func (a *API) imageCount() int {
	ids := map[string]bool{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			for _, h := range n.Observed.Images {
				ids[h.ID] = true
			}
		}
	})
	return len(ids)
}

// noPlugins answers as an engine without plugins: those of hosts are their own.
func (a *API) noPlugins(w http.ResponseWriter, _ *call) { reply(w, http.StatusOK, []string{}) }

// refuseSwarm answers as an engine that is in no swarm.
func (a *API) refuseSwarm(w http.ResponseWriter, _ *call) {
	fail(w, http.StatusServiceUnavailable, "This node is not a swarm manager. ddocker places containers without a swarm.")
}
