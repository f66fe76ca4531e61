package enginetest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// objects are the engine's networks and volumes.
type objects struct {
	networks map[string]*network.Inspect // by ID
	volumes  map[string]*volume.Volume   // by name
}

func newObjects() objects {
	o := objects{map[string]*network.Inspect{}, map[string]*volume.Volume{}}
	for _, name := range []string{"bridge", "host", "none"} {
		o.add(network.CreateRequest{Name: name, CreateOptions: network.CreateOptions{Driver: strings.Replace(name, "none", "null", 1)}})
	}
	return o
}

func (o *objects) add(req network.CreateRequest) *network.Inspect {
	n := &network.Inspect{
		Name: req.Name, ID: newID(), Created: time.Now(), Scope: "local", Driver: req.Driver,
		Labels: req.Labels, Options: req.Options, Internal: req.Internal, Containers: map[string]network.EndpointResource{},
	}
	if n.Driver == "" {
		n.Driver = "bridge"
	}
	o.networks[n.ID] = n
	return n
}

// network finds one by ID, name or prefix of the ID.
func (o *objects) network(ref string) (found *network.Inspect) {
	for id, n := range o.networks {
		switch {
		case id == ref || n.Name == ref:
			return n
		case strings.HasPrefix(id, ref):
			found = n
		}
	}
	return found
}

// createNetwork is POST /networks/create.
func (t *Twin) createNetwork(c call) reply {
	var req network.CreateRequest
	if r := c.decode(&req); r != nil {
		return *r
	}
	if slices.Contains([]string{"bridge", "host", "none"}, req.Name) {
		return refuse(http.StatusForbidden, "operation is not permitted on predefined %s network", req.Name)
	}
	if !slices.Contains([]string{"", "bridge", "null", "host"}, req.Driver) {
		return refuse(http.StatusNotFound, "plugin %q not found", req.Driver)
	}
	for _, n := range t.objects.networks {
		if n.Name == req.Name {
			return refuse(http.StatusConflict, "network with name %s already exists", req.Name)
		}
	}
	return reply{http.StatusCreated, network.CreateResponse{ID: t.objects.add(req).ID}}
}

// listNetworks is GET /networks with the filters name, id and label.
func (t *Twin) listNetworks(c call) reply {
	args, err := filters.FromJSON(c.FormValue("filters"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	list := []network.Inspect{}
	for _, n := range t.objects.networks {
		if args.Match("name", n.Name) && args.Match("id", n.ID) && args.MatchKVList("label", n.Labels) {
			list = append(list, *n)
		}
	}
	slices.SortFunc(list, func(a, b network.Inspect) int { return strings.Compare(a.Name, b.Name) })
	return reply{http.StatusOK, list}
}

// inspectNetwork is GET /networks/{id}.
func (t *Twin) inspectNetwork(c call) reply {
	n := t.objects.network(c.PathValue("id"))
	if n == nil {
		return refuse(http.StatusNotFound, "network %s not found", c.PathValue("id"))
	}
	shown := *n
	shown.Containers = map[string]network.EndpointResource{}
	for _, b := range t.containers {
		if b.running && b.on[n.ID] {
			shown.Containers[b.id] = network.EndpointResource{Name: b.name}
		}
	}
	return reply{http.StatusOK, shown}
}

// removeNetwork is DELETE /networks/{id}.
func (t *Twin) removeNetwork(c call) reply {
	n := t.objects.network(c.PathValue("id"))
	if n == nil {
		return refuse(http.StatusNotFound, "network %s not found", c.PathValue("id"))
	}
	for _, b := range t.containers {
		if b.running && b.on[n.ID] {
			return refuse(http.StatusForbidden, "error while removing network: network %s id %s has active endpoints", n.Name, n.ID)
		}
	}
	delete(t.objects.networks, n.ID)
	return reply{http.StatusNoContent, nil}
}

// connectNetwork is POST /networks/{id}/connect, and disconnect.
func (t *Twin) connectNetwork(c call) reply {
	var req struct{ Container string }
	if r := c.decode(&req); r != nil {
		return *r
	}
	n := t.objects.network(c.PathValue("id"))
	if n == nil {
		return refuse(http.StatusNotFound, "network %s not found", c.PathValue("id"))
	}
	b, refusal := t.lookup(req.Container)
	if refusal != nil {
		return *refusal
	}
	on := strings.HasSuffix(c.URL.Path, "/connect")
	if !on && !b.on[n.ID] {
		return refuse(http.StatusInternalServerError, "container %s is not connected to network %s", b.id, n.Name)
	}
	b.on[n.ID] = on
	return reply{http.StatusOK, nil}
}

// pruneNetworks is POST /networks/prune.
func (t *Twin) pruneNetworks(call) reply {
	gone := []string{}
	for id, n := range t.objects.networks {
		used := slices.Contains([]string{"bridge", "host", "none"}, n.Name)
		for _, b := range t.containers {
			used = used || b.on[id]
		}
		if !used {
			gone = append(gone, n.Name)
			delete(t.objects.networks, id)
		}
	}
	return reply{http.StatusOK, network.PruneReport{NetworksDeleted: gone}}
}

// createVolume is POST /volumes/create.
func (t *Twin) createVolume(c call) reply {
	var req volume.CreateOptions
	if r := c.decode(&req); r != nil {
		return *r
	}
	if req.Name == "" {
		req.Name = newID()
	}
	return reply{http.StatusCreated, *t.objects.volume(req)}
}

// volume returns the volume of the name, and makes it where there is none.
func (o *objects) volume(req volume.CreateOptions) *volume.Volume {
	v := o.volumes[req.Name]
	if v == nil {
		v = &volume.Volume{
			Name: req.Name, Driver: "local", Scope: "local", Labels: req.Labels, Options: req.DriverOpts,
			CreatedAt: time.Now().Format(time.RFC3339), Mountpoint: "/var/lib/docker/volumes/" + req.Name + "/_data",
		}
		o.volumes[req.Name] = v
	}
	return v
}

// listVolumes is GET /volumes with the filters name and label.
func (t *Twin) listVolumes(c call) reply {
	args, err := filters.FromJSON(c.FormValue("filters"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	list := volume.ListResponse{Volumes: []*volume.Volume{}}
	for _, v := range t.objects.volumes {
		if args.Match("name", v.Name) && args.MatchKVList("label", v.Labels) {
			list.Volumes = append(list.Volumes, v)
		}
	}
	slices.SortFunc(list.Volumes, func(a, b *volume.Volume) int { return strings.Compare(a.Name, b.Name) })
	return reply{http.StatusOK, list}
}

// inspectVolume is GET /volumes/{name}.
func (t *Twin) inspectVolume(c call) reply {
	v := t.objects.volumes[c.PathValue("name")]
	if v == nil {
		return refuse(http.StatusNotFound, "get %s: no such volume", c.PathValue("name"))
	}
	return reply{http.StatusOK, *v}
}

// removeVolume is DELETE /volumes/{name}.
func (t *Twin) removeVolume(c call) reply {
	name := c.PathValue("name")
	if t.objects.volumes[name] == nil {
		return refuse(http.StatusNotFound, "get %s: no such volume", name)
	}
	for _, b := range t.containers {
		if b.uses[name] {
			return refuse(http.StatusConflict, "remove %s: volume is in use - [%s]", name, b.id)
		}
	}
	delete(t.objects.volumes, name)
	return reply{http.StatusNoContent, nil}
}

// pruneVolumes is POST /volumes/prune.
func (t *Twin) pruneVolumes(call) reply {
	gone := []string{}
	for name := range t.objects.volumes {
		used := false
		for _, b := range t.containers {
			used = used || b.uses[name]
		}
		if !used {
			gone = append(gone, name)
			delete(t.objects.volumes, name)
		}
	}
	return reply{http.StatusOK, volume.PruneReport{VolumesDeleted: gone}}
}

// furnish gives a new container what its configuration names. A network that is
// not there is missed at the start.
func (t *Twin) furnish(b *box, endpoints map[string]*network.EndpointSettings) {
	b.on, b.uses = map[string]bool{}, map[string]bool{}
	refs := []string{"bridge"}
	if m := b.host.NetworkMode; m != "" && !m.IsDefault() {
		refs[0] = string(m)
	}
	for ref := range endpoints {
		refs = append(refs, ref)
	}
	for _, ref := range refs {
		if n := t.objects.network(ref); ref != "" && n != nil {
			b.on[n.ID] = true
		}
	}
	sources := []string{}
	for _, bind := range b.host.Binds {
		source, _, _ := strings.Cut(bind, ":")
		sources = append(sources, source)
	}
	for _, m := range b.host.Mounts {
		if m.Type == "volume" {
			sources = append(sources, m.Source)
		}
	}
	for _, source := range sources {
		if source != "" && source[0] != '/' {
			b.uses[t.objects.volume(volume.CreateOptions{Name: source}).Name] = true
		}
	}
}

// missing names the network that a container is to run on and that is not there.
func (t *Twin) missing(b *box) string {
	if m := b.host.NetworkMode; m.IsUserDefined() && t.objects.network(string(m)) == nil {
		return string(m)
	}
	return ""
}
