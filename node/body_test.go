package node

import (
	"strings"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// written is a body before and after a grant is written into it.
type written struct {
	name   string
	body   string
	grant  sched.Grant
	shared string
	gpus   gpuMeans
	want   string
}

func (c written) judge(t *testing.T) {
	shared, err := sched.ParseCPUSet(c.shared)
	if err != nil {
		t.Fatal(err)
	}
	got, err := writeGrant([]byte(c.body), &ledger.Placement{ID: "p1", Name: "web", Grant: c.grant}, shared, c.gpus)
	if err != nil || string(got) != c.want {
		t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
	}
}

func TestGrantIsWrittenIntoTheBodyOfACreate(t *testing.T) {
	for _, c := range []written{
		{
			name: "nothing is granted but the place",
			body: `{"Image":"busybox"}`,
			want: `{"HostConfig":{},"Image":"busybox","Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name: "no HostConfig and no Labels are as good as none",
			body: `{"HostConfig":null,"Labels":null,"Image":"busybox"}`,
			want: `{"HostConfig":{},"Image":"busybox","Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:  "fields that nobody here knows pass by, digit for digit",
			body:  `{"Image":"busybox","Future":{"b":1.50,"a":[1e3,null]},"HostConfig":{"ShmSize":18446744073709551615,"Annotations":{"z":"","a":"ü"}}}`,
			grant: sched.Grant{Memory: 1 << 30},
			want:  `{"Future":{"b":1.50,"a":[1e3,null]},"HostConfig":{"Annotations":{"z":"","a":"ü"},"Memory":1073741824,"ShmSize":18446744073709551615},"Image":"busybox","Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:  "pinned cores take the place of a quota, however it was given",
			body:  `{"HostConfig":{"NanoCpus":2000000000,"cpuquota":200000,"CPUPERIOD":100000,"cpusetcpus":"0-7"}}`,
			grant: sched.Grant{Cores: sched.CPUs(2, 3)},
			want:  `{"HostConfig":{"CpusetCpus":"2-3"},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:   "a fraction is a quota on the cores that are left to share",
			body:   `{"HostConfig":{"CpuQuota":150000,"CpuPeriod":100000}}`,
			grant:  sched.Grant{MilliCPU: 1500},
			shared: "4-7",
			want:   `{"HostConfig":{"CpuPeriod":100000,"CpuQuota":150000,"CpusetCpus":"4-7"},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name: "a placement's label cannot be brought along",
			body: `{"labels":{"ddocker.placement":"p0","mine":"1"}}`,
			want: `{"HostConfig":{},"Labels":{"ddocker.placement":"p1","mine":"1"}}`,
		},
	} {
		t.Run(c.name, c.judge)
	}
}

func TestGrantedDevicesAndPortsAreTheOnlyOnes(t *testing.T) {
	web := sched.Binding{Host: 25000, Container: 80, Proto: "tcp"}
	for _, c := range []written{
		{
			name:  "granted GPUs are the only ones asked for and the only ones seen",
			body:  `{"Env":["A=1","NVIDIA_VISIBLE_DEVICES=all"],"HostConfig":{"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]}}`,
			grant: sched.Grant{GPUs: []string{"GPU-a", "GPU-b"}},
			gpus:  gpuMeans{engine.ByRequest, true},
			want: `{"Env":["A=1","NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b"],"HostConfig":{"DeviceRequests":[{"Driver":"","DeviceIDs":["GPU-a","GPU-b"],` +
				`"Capabilities":[["gpu"]]}]},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:  "what is wanted of the driver for the GPUs stays wanted",
			body:  `{"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["utility","gpu"],["gpu","video"]]},{"Driver":"nvidia","Count":1}]}}`,
			grant: sched.Grant{GPUs: []string{"GPU-a", "GPU-b"}},
			gpus:  gpuMeans{engine.ByRequest, true},
			want: `{"Env":["NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b"],"HostConfig":{"DeviceRequests":[{"Driver":"","DeviceIDs":["GPU-a","GPU-b"],` +
				`"Capabilities":[["gpu","utility"]]}]},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name: "without a grant the GPUs of the host are hidden",
			body: `{"env":["NVIDIA_VISIBLE_DEVICES=all"],"HostConfig":{"devicerequests":[{"Count":-1,"Capabilities":[["gpu"]]}]}}`,
			gpus: gpuMeans{engine.NoWay, true},
			want: `{"Env":["NVIDIA_VISIBLE_DEVICES=void"],"HostConfig":{},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:  "where device requests are not fulfilled, the runtime is told, and nothing twice",
			body:  `{"Env":["NVIDIA_VISIBLE_DEVICES"],"HostConfig":{"Runtime":"runc","DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`,
			grant: sched.Grant{GPUs: []string{"GPU-a"}},
			gpus:  gpuMeans{engine.ByRuntime, true},
			want:  `{"Env":["NVIDIA_VISIBLE_DEVICES=GPU-a"],"HostConfig":{"Runtime":"nvidia"},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name: "the runtime gives nothing to whom nothing was granted",
			body: `{"Env":["NVIDIA_VISIBLE_DEVICES=0"],"HostConfig":{"Runtime":"nvidia"}}`,
			gpus: gpuMeans{engine.ByRuntime, true},
			want: `{"Env":["NVIDIA_VISIBLE_DEVICES=void"],"HostConfig":{"Runtime":"nvidia"},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name: "nor does it where no card is known",
			body: `{"HostConfig":{"runtime":"nvidia-cdi"}}`,
			want: `{"Env":["NVIDIA_VISIBLE_DEVICES=void"],"HostConfig":{"runtime":"nvidia-cdi"},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name: "a host without GPUs has none to hide",
			body: `{"Env":["A=1"]}`,
			want: `{"Env":["A=1"],"HostConfig":{},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:  "granted ports take the place of those asked for",
			body:  `{"ExposedPorts":{"22/tcp":{}},"HostConfig":{"portbindings":{"22/tcp":[{"HostPort":"22"}]},"PublishAllPorts":true}}`,
			grant: sched.Grant{Ports: []sched.Binding{web, {IP: "127.0.0.1", Host: 80, Container: 80, Proto: "tcp"}}},
			want: `{"ExposedPorts":{"22/tcp":{},"80/tcp":{}},"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"25000"},` +
				`{"HostIp":"127.0.0.1","HostPort":"80"}]}},"Labels":{"ddocker.placement":"p1"}}`,
		},
		{
			name:  "ports that are not granted are not bound",
			body:  `{"hostconfig":{"PortBindings":{"80/tcp":[{}]},"publishallports":true}}`,
			grant: sched.Grant{},
			want:  `{"HostConfig":{"PortBindings":{}},"Labels":{"ddocker.placement":"p1"}}`,
		},
	} {
		t.Run(c.name, c.judge)
	}
}

func TestBodyThatTheEngineMightReadOtherwiseIsRefused(t *testing.T) {
	for body, want := range map[string]string{
		``:                   "no JSON object",
		`[]`:                 "no JSON object",
		`null`:               "no JSON object",
		`{"HostConfig":[]}`:  "read HostConfig",
		`{"Labels":{"a":1}}`: "read Labels",
		`{"HostConfig":{},"hostconfig":{"Memory":1}}`:     "HostConfig twice",
		`{"HostConfig":{},"ho\u017ftConfig":{}}`:          "HostConfig twice",
		`{"Labels":{},"LABELS":{"ddocker.placement":""}}`: "Labels twice",
		`{"ExposedPorts":[]}`:                             "read ExposedPorts",
		`{"Env":"A=1"}`:                                   "read Env",
	} {
		grant := sched.Grant{Ports: []sched.Binding{{Host: 1, Container: 1, Proto: "tcp"}}}
		got, err := writeGrant([]byte(body), &ledger.Placement{ID: "p1", Name: "web", Grant: grant}, sched.CPUSet{}, gpuMeans{engine.ByRequest, true})
		if err == nil || !contains(err.Error(), want) {
			t.Errorf("%s: got %s, %v, want an error with %q", body, got, err, want)
		}
	}
}
