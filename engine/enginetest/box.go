package enginetest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

// box is one container.
type box struct {
	id, name string
	image    *image
	created  time.Time
	config   *container.Config
	host     *container.HostConfig

	running            bool
	started, finished  time.Time
	exit, pid          int
	failure            string   // why the last start failed
	gpus               []string // UUIDs of the cards that the last start gave it
	ports              nat.PortMap
	held               []hostPort // the keys of its bindings in Twin.bound
	out                []byte     // what it wrote, in stdcopy's frames unless it has a tty
	execs              []string
	written            []string        // paths of files that were copied into it
	on                 map[string]bool // networks, by ID
	uses               map[string]bool // volumes, by name
	untilExit, untilRm []chan int      // whom to tell the exit code; each takes one value
}

// with looks the container of the path up as moby does: by full ID, then name,
// then unambiguous prefix of an ID.
func (t *Twin) with(do func(call, *box) reply) func(call) reply {
	return func(c call) reply {
		b, refusal := t.lookup(c.PathValue("id"))
		if refusal != nil {
			return *refusal
		}
		return do(c, b)
	}
}

func (t *Twin) lookup(ref string) (*box, *reply) {
	if b := t.containers[ref]; b != nil {
		return b, nil
	}
	if b := t.names[strings.TrimPrefix(ref, "/")]; b != nil {
		return b, nil
	}
	var found *box
	for id, b := range t.containers {
		if ref == "" || !strings.HasPrefix(id, ref) {
			continue
		}
		if found != nil {
			r := refuse(http.StatusBadRequest, "multiple IDs found with provided prefix: %s", ref)
			return nil, &r
		}
		found = b
	}
	if found == nil {
		r := refuse(http.StatusNotFound, "No such container: %s", ref)
		return nil, &r
	}
	return found, nil
}

// create is POST /containers/create.
func (t *Twin) create(c call) reply {
	var req container.CreateRequest
	if r := c.decode(&req); r != nil {
		return *r
	}
	name := strings.TrimPrefix(c.FormValue("name"), "/")
	if r := t.checkCreate(name, &req); r != nil {
		return *r
	}
	img := t.image(req.Image)
	if img == nil {
		return refuse(http.StatusNotFound, "No such image: %s", familiar(req.Image))
	}
	if r := t.taken(name); r != nil {
		return *r
	}
	inherit(req.Config, img.spec.Config)
	if len(req.Cmd)+len(req.Entrypoint) == 0 {
		return refuse(http.StatusBadRequest, "No command specified")
	}
	b := &box{id: newID(), name: name, image: img, created: time.Now(), config: req.Config, host: req.HostConfig}
	if name == "" {
		b.name = "box_" + b.id[:12]
	}
	if b.host.Runtime == "" {
		b.host.Runtime = "runc"
	}
	if b.config.Hostname == "" {
		b.config.Hostname = b.id[:12]
	}
	var endpoints map[string]*network.EndpointSettings
	if req.NetworkingConfig != nil {
		endpoints = req.NetworkingConfig.EndpointsConfig
	}
	t.furnish(b, endpoints)
	t.containers[b.id], t.names[b.name] = b, b
	t.tell(b, "create")
	return reply{http.StatusCreated, container.CreateResponse{ID: b.id, Warnings: []string{}}}
}

// inherit gives a container what its image says and it does not.
func inherit(config, from *container.Config) {
	if len(config.Cmd)+len(config.Entrypoint) == 0 {
		config.Cmd = from.Cmd
	}
	if len(config.Entrypoint) == 0 {
		config.Entrypoint = from.Entrypoint
	}
	labels := maps.Clone(from.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, config.Labels)
	config.Labels = labels
	for _, inherited := range slices.Backward(from.Env) {
		name, _, _ := strings.Cut(inherited, "=")
		if !slices.ContainsFunc(config.Env, func(v string) bool { return v == name || strings.HasPrefix(v, name+"=") }) {
			config.Env = slices.Insert(config.Env, 0, inherited)
		}
	}
}

func (t *Twin) checkCreate(name string, req *container.CreateRequest) *reply {
	var r reply
	if req.Config == nil {
		r = refuse(http.StatusBadRequest, "Config cannot be empty in order to create a container")
		return &r
	}
	if req.HostConfig == nil {
		req.HostConfig = &container.HostConfig{}
	}
	if name != "" && !validName(name) {
		r = refuse(http.StatusBadRequest, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
		return &r
	}
	if r := t.knowsRuntime(req.HostConfig.Runtime); r != nil {
		return r
	}
	return t.checkResources(req.HostConfig.Resources)
}

// validName is moby's rule for the names of containers.
func validName(name string) bool {
	if len(name) < 2 || strings.ContainsRune("_.-", rune(name[0])) {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-", r))
	}) < 0
}

// taken refuses a name that another container has.
func (t *Twin) taken(name string) *reply {
	holder := t.names[name]
	if holder == nil {
		return nil
	}
	r := refuse(http.StatusConflict, "Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, holder.id)
	return &r
}

// rename is POST /containers/{id}/rename.
func (t *Twin) rename(c call, b *box) reply {
	name := strings.TrimPrefix(c.FormValue("name"), "/")
	switch {
	case name == "":
		return refuse(http.StatusBadRequest, "Neither old nor new names may be empty")
	case name == b.name:
		return refuse(http.StatusBadRequest, "Renaming a container with the same name as its current name")
	case !validName(name):
		return refuse(http.StatusBadRequest, "Error when allocating new name: Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	if r := t.taken(name); r != nil {
		r.body = map[string]string{"message": "Error when allocating new name: " + r.body.(map[string]string)["message"]}
		return *r
	}
	delete(t.names, b.name)
	b.name = name
	t.names[name] = b
	t.tell(b, "rename")
	return reply{http.StatusNoContent, nil}
}

// update is POST /containers/{id}/update.
func (t *Twin) update(c call, b *box) reply {
	var req container.UpdateConfig
	if r := c.decode(&req); r != nil {
		return *r
	}
	if r := t.checkResources(req.Resources); r != nil {
		return *r
	}
	if r := b.conflict(req.Resources); r != nil {
		return *r
	}
	if req.CpusetCpus != "" {
		b.host.CpusetCpus = req.CpusetCpus
	}
	if req.NanoCPUs != 0 {
		b.host.NanoCPUs = req.NanoCPUs
	}
	if req.CPUQuota != 0 {
		b.host.CPUQuota = req.CPUQuota
	}
	if req.CPUPeriod != 0 {
		b.host.CPUPeriod = req.CPUPeriod
	}
	if req.Memory != 0 {
		b.host.Memory = req.Memory
	}
	if b.running {
		t.judge(b)
	}
	t.tell(b, "update")
	return reply{http.StatusOK, container.UpdateResponse{}}
}

// conflict refuses the form of a limit that the container does not have already.
func (b *box) conflict(res container.Resources) *reply {
	what := ""
	switch {
	case res.NanoCPUs > 0 && b.host.CPUPeriod > 0:
		what = "Nano CPUs cannot be updated as CPU Period has already been set"
	case res.NanoCPUs > 0 && b.host.CPUQuota > 0:
		what = "Nano CPUs cannot be updated as CPU Quota has already been set"
	case res.CPUQuota > 0 && b.host.NanoCPUs > 0:
		what = "CPU Quota cannot be updated as NanoCPUs has already been set"
	case res.CPUPeriod > 0 && b.host.NanoCPUs > 0:
		what = "CPU Period cannot be updated as NanoCPUs has already been set"
	default:
		return nil
	}
	r := refuse(http.StatusConflict, "Cannot update container %s: Conflicting options: %s", b.id, what)
	return &r
}

// endpoints is what the container is connected to.
func (t *Twin) endpoints(b *box) map[string]*network.EndpointSettings {
	on := map[string]*network.EndpointSettings{}
	for id, connected := range b.on {
		if n := t.objects.networks[id]; n != nil && connected {
			on[n.Name] = &network.EndpointSettings{NetworkID: id, Aliases: []string{b.id[:12]}}
		}
	}
	return on
}

func (b *box) command() []string {
	return append(append([]string{}, b.config.Entrypoint...), b.config.Cmd...)
}

// status is the words of docker ps.
func (b *box) status() string {
	switch b.state() {
	case container.StateRunning:
		return "Up " + ago(b.started)
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", b.exit, ago(b.finished))
	}
	return "Created"
}

func (b *box) state() string {
	switch {
	case b.running:
		return container.StateRunning
	case !b.finished.IsZero():
		return container.StateExited
	}
	return container.StateCreated
}
