package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"ddocker/api/options"
	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// pin restricts a container to the one host that has what it is tied to: other
// containers, files of the host that the cluster does not know to be shared, and
// networks and volumes.
func (a *API) pin(ctx context.Context, w *wish, overlay *options.Overlay, o *order) error {
	r := &o.reserve.Request
	o.reserve.Apart = r.Host != "" || len(r.Only) > 0
	if other := w.companion(); other != "" {
		t, refusal := a.resolve(ctx, other)
		switch {
		case refusal == nil:
			if err := narrow(r, a.hosts.name(t.Node), "container "+other+" is there"); err != nil {
				return err
			}
		case refusal.Code != ledger.Unknown: // which its engine says, in its own words
			return refusal
		}
	}
	if err := a.pinAddress(r); err != nil {
		return err
	}
	shared, err := everywhere(overlay)
	if err != nil {
		return err
	}
	if source := w.bound(shared); source != "" && r.Host == "" {
		why := "volume " + source + " is its own and not known to be on every host (see additional_options in \"ddocker config show\")"
		if err := narrow(r, a.cfg.Name, why); err != nil {
			return err
		}
	}
	return a.tie(ctx, w, o)
}

// pinAddress restricts a container that publishes a port at the address of a node to
// that node.
func (a *API) pinAddress(r *sched.Request) error {
	at := map[string]string{} // nodes' names by their addresses
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			if ip, _, err := net.SplitHostPort(n.Address); err == nil {
				at[ip] = n.Name
			}
		}
	})
	for _, p := range r.Ports {
		if name := at[p.IP]; name != "" && len(at) > 1 {
			if err := narrow(r, name, "address "+p.IP+" is its own"); err != nil {
				return err
			}
		}
	}
	return nil
}

func narrow(r *sched.Request, host, why string) error {
	if r.Host != "" && r.Host != host {
		return &ledger.Refusal{Code: ledger.Invalid, Message: fmt.Sprintf("host %s is asked for, but only %s will do: %s", r.Host, host, why)}
	}
	r.Host, r.HostReason = host, why
	return nil
}

// companion names a container whose host this one must share.
func (w *wish) companion() string {
	h := &w.HostConfig
	for _, mode := range []string{h.NetworkMode, h.IpcMode, h.PidMode} {
		if name, ok := strings.CutPrefix(mode, "container:"); ok {
			return name
		}
	}
	for _, from := range slices.Concat(h.VolumesFrom, h.Links) {
		name, _, _ := strings.Cut(from, ":")
		return name
	}
	return ""
}

// bound names the first directory or file of a host that the container wants.
func (w *wish) bound(shared *wish) string {
	paths := shared.sources()
	for _, source := range w.sources() {
		if strings.HasPrefix(source, "/") && !engineSocket(source) && !within(source, paths) {
			return source
		}
	}
	return ""
}

// everywhere is what additional_options give to containers of every host.
func everywhere(overlay *options.Overlay) (*wish, error) {
	body := map[string]json.RawMessage{}
	if err := overlay.Apply(body); err != nil {
		return nil, err
	}
	var w wish
	if err := json.Unmarshal(raw(body), &w); err != nil {
		return nil, fmt.Errorf("read additional_options: %w", err)
	}
	return &w, nil
}

// sources are the paths and the volumes of the host that are mounted.
func (w *wish) sources() (paths []string) {
	for _, b := range w.HostConfig.Binds {
		if source, _, ok := strings.Cut(b, ":"); ok {
			paths = append(paths, source)
		}
	}
	for _, m := range w.HostConfig.Mounts {
		if m.Source != "" && (m.Type == "bind" || m.Type == "volume") {
			paths = append(paths, m.Source)
		}
	}
	return paths
}

func within(source string, shared []string) bool {
	source = path.Clean(source)
	return slices.ContainsFunc(shared, func(s string) bool {
		s = path.Clean(s)
		return source == s || strings.HasPrefix(source, strings.TrimSuffix(s, "/")+"/")
	})
}
