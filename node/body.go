package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

// object is a JSON object of which only some fields are touched: the others
// pass as the bytes they came in, also those that this program does not know.
// Keys are alike in any case, as they are to the engine.
type object map[string]json.RawMessage

func (o object) set(key string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("node: marshal %s: %v", key, err)) // of strings, numbers and lists of them: cannot fail
	}
	o.remove(key)
	o[key] = data
}

func (o object) remove(key string) {
	maps.DeleteFunc(o, func(k string, _ json.RawMessage) bool { return strings.EqualFold(k, key) })
}

func (o object) has(key string) bool {
	for k := range o {
		if strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// get refuses a key that stands twice: which of the two the engine would take
// depends on their order, which is lost here.
func (o object) get(key string, into any) error {
	found := ""
	for k, raw := range o {
		if !strings.EqualFold(k, key) {
			continue
		}
		if found != "" {
			return fmt.Errorf("read the request: it has %s twice", key)
		}
		found = k
		if err := json.Unmarshal(raw, into); err != nil {
			return fmt.Errorf("read %s of the request: %w", key, err)
		}
	}
	return nil
}

// writeGrant writes what the ledger granted into the body of a create. Shared
// are the cores that a container without its own must keep to; empty: all.
func writeGrant(body []byte, p *ledger.Placement, shared sched.CPUSet, gpus gpuMeans) ([]byte, error) {
	var top object
	if err := json.Unmarshal(body, &top); err != nil || top == nil {
		return nil, fmt.Errorf("read the request to create %s: it is no JSON object", p.Name)
	}
	host := object{}
	if err := top.get("HostConfig", &host); err != nil {
		return nil, err
	}
	if host == nil {
		host = object{}
	}
	writeCPU(host, &p.Grant, shared)
	if p.Grant.Memory > 0 {
		host.set("Memory", p.Grant.Memory)
	}
	if err := writeGPUs(top, host, &p.Grant, gpus); err != nil {
		return nil, err
	}
	if err := writePorts(top, host, &p.Grant); err != nil {
		return nil, err
	}
	labels := map[string]string{}
	if err := top.get("Labels", &labels); err != nil {
		return nil, err
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[engine.LabelPlacement] = p.ID
	delete(labels, engine.LabelOwner)
	if p.Owner != "" {
		labels[engine.LabelOwner] = p.Owner
	}
	top.set("Labels", labels)
	top.set("HostConfig", host)
	return json.Marshal(top)
}

// writeImage writes another name for the image into the body of a create; empty:
// it stays.
func writeImage(body []byte, image string) ([]byte, error) {
	if image == "" {
		return body, nil
	}
	var top object
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	top.set("Image", image)
	return json.Marshal(top)
}

func writeCPU(host object, g *sched.Grant, shared sched.CPUSet) {
	if !g.Shares() {
		for _, quota := range []string{"NanoCpus", "CpuQuota", "CpuPeriod"} {
			host.remove(quota)
		}
		host.set("CpusetCpus", g.Cores)
		return
	}
	var quota int64
	// A quota is what the grant was made of; with NanoCpus beside it engines refuse it.
	if err := host.get("CpuQuota", &quota); g.MilliCPU > 0 && (err != nil || quota <= 0) {
		host.remove("CpuPeriod")
		host.set("NanoCpus", g.MilliCPU*1e6)
	}
	if shared.Count() > 0 {
		host.set("CpusetCpus", shared)
	}
}

type deviceRequest struct {
	Driver       string
	DeviceIDs    []string
	Capabilities [][]string
}

// gpuMeans is how this host gives GPUs to containers, and whether it may have any to
// hide from those that were granted none.
type gpuMeans struct {
	way  engine.Way
	hide bool
}

// writeGPUs writes the granted cards by their UUIDs, and no other way to cards. The
// variable, which images bring along too, and CUDA's with "all", is always written where
// there may be cards: a runtime called nvidia obeys it, whoever asked for that.
func writeGPUs(top, host object, g *sched.Grant, gpus gpuMeans) error {
	var asked []deviceRequest
	if err := host.get("DeviceRequests", &asked); err != nil {
		return err
	}
	host.remove("DeviceRequests")
	visible := "void"
	if len(g.GPUs) > 0 {
		visible = strings.Join(g.GPUs, ",")
		if gpus.way == engine.ByRuntime {
			host.set("Runtime", engine.RuntimeNVIDIA)
		} else {
			host.set("DeviceRequests", []deviceRequest{{DeviceIDs: g.GPUs, Capabilities: [][]string{capabilities(asked)}}})
		}
	}
	runtime := ""
	if err := host.get("Runtime", &runtime); err != nil {
		return err
	}
	if !gpus.hide && len(g.GPUs) == 0 && !strings.Contains(runtime, engine.RuntimeNVIDIA) {
		return nil
	}
	var env []string
	if err := top.get("Env", &env); err != nil {
		return err
	}
	env = slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return name == engine.VisibleDevices
	})
	top.set("Env", append(env, engine.VisibleDevices+"="+visible))
	return nil
}

// capabilities are what the requests want of the driver for their cards, such as
// "utility". Engines take the first of several sets.
func capabilities(asked []deviceRequest) []string {
	all := []string{"gpu"}
	for _, r := range asked {
		at := slices.IndexFunc(r.Capabilities, func(set []string) bool { return slices.Contains(set, "gpu") })
		if at < 0 {
			continue
		}
		for _, word := range r.Capabilities[at] {
			if !slices.Contains(all, word) {
				all = append(all, word)
			}
		}
	}
	return all
}

type portBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

func writePorts(top, host object, g *sched.Grant) error {
	host.remove("PublishAllPorts") // each is granted by number
	if len(g.Ports) == 0 {
		if host.has("PortBindings") {
			host.set("PortBindings", map[string]any{})
		}
		return nil
	}
	exposed := map[string]json.RawMessage{}
	if err := top.get("ExposedPorts", &exposed); err != nil {
		return err
	}
	if exposed == nil {
		exposed = map[string]json.RawMessage{}
	}
	bindings := map[string][]portBinding{}
	for _, b := range g.Ports {
		key := fmt.Sprintf("%d/%s", b.Container, b.Proto)
		bindings[key] = append(bindings[key], portBinding{b.IP, strconv.Itoa(int(b.Host))})
		exposed[key] = json.RawMessage("{}")
	}
	host.set("PortBindings", bindings)
	top.set("ExposedPorts", exposed)
	return nil
}
