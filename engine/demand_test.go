package engine

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// Inspections as engines write them, cut down to what a demand is read from.
func TestDemandIsReadFromAnInspection(t *testing.T) {
	for is, x := range map[string]struct {
		inspect string
		want    demand
	}{
		"nothing asked": {`{"HostConfig":{}}`, demand{}},
		"cores, memory and a limit": {
			`{"HostConfig":{"CpusetCpus":"0-1,4","NanoCpus":1500000000,"Memory":1024}}`,
			demand{cores: []int{0, 1, 4}, nanoCPUs: 1_500_000_000, memory: 1024}},
		"a limit by quota": {
			`{"HostConfig":{"CpuQuota":50000,"CpuPeriod":25000}}`, demand{nanoCPUs: 2_000_000_000, quota: 50000, period: 25000}},
		"a quota of the default period": {
			`{"HostConfig":{"CpuQuota":50000}}`, demand{nanoCPUs: 500_000_000, quota: 50000}},
		"GPUs by UUID": {
			`{"HostConfig":{"DeviceRequests":[{"DeviceIDs":["GPU-b","GPU-a"],"Capabilities":[["gpu"]]}]}}`,
			demand{gpus: []string{"GPU-a", "GPU-b"}}},
		"GPUs by number": {
			`{"HostConfig":{"DeviceRequests":[{"Count":2,"Capabilities":[["gpu","utility"]]}]}}`,
			demand{gpus: []string{"0", "1"}}},
		"all GPUs": {
			`{"HostConfig":{"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]}}`, demand{gpus: []string{"all"}}},
		"GPUs by CDI": {
			`{"HostConfig":{"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=GPU-a","vendor.com/net=x"]}]}}`,
			demand{gpus: []string{"GPU-a"}}},
		"another device": {
			`{"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["tpu"]]}]}}`, demand{}},
		"GPUs by the nvidia runtime": {
			`{"Config":{"Env":["A=b","NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b"]},"HostConfig":{"Runtime":"nvidia"}}`,
			demand{gpus: []string{"GPU-a", "GPU-b"}}},
		"no GPU by the nvidia runtime": {
			`{"Config":{"Env":["NVIDIA_VISIBLE_DEVICES=void"]},"HostConfig":{"Runtime":"nvidia"}}`, demand{}},
		"an image's variable without the nvidia runtime": {
			`{"Config":{"Env":["NVIDIA_VISIBLE_DEVICES=all"]},"HostConfig":{"Runtime":"runc"}}`, demand{}},
		"ports that are fixed": {
			`{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8080"},{"HostIp":"127.0.0.1","HostPort":"81"},{"HostPort":""},{"HostPort":"90-99"}],"53/udp":[{"HostPort":"8080"}]}}}`,
			demand{ports: []Port{{81, 80, "tcp", "127.0.0.1"}, {8080, 80, "tcp", "0.0.0.0"}, {8080, 53, "udp", "0.0.0.0"}}}},
	} {
		var in container.InspectResponse
		if err := json.Unmarshal([]byte(x.inspect), &in); err != nil {
			t.Fatal(err)
		}
		if got, err := demandOf(in); err != nil || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: got %+v, %v, want %+v", is, got, err, x.want)
		}
	}
}

func TestPortsAreThoseBoundWhileItRunsAndThoseAskedOtherwise(t *testing.T) {
	asked := demand{ports: []Port{{8080, 80, "tcp", "0.0.0.0"}}}
	bound := []container.Port{{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 32768, Type: "tcp"}, {PrivatePort: 81, Type: "tcp"}}
	for state, want := range map[string]uint16{"running": 32768, "paused": 32768, "restarting": 8080, "created": 8080, "exited": 8080} {
		c := describe(container.Summary{State: state, Ports: bound, Names: []string{"/other/alias", "/web"}}, asked)
		if c.Name != "web" || len(c.Ports) != 1 || c.Ports[0].Host != want || c.Running != (state != "created" && state != "exited") {
			t.Errorf("%s: %+v", state, c)
		}
	}
}
