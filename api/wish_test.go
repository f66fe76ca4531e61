package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ddocker/api/options"
	"ddocker/sched"
	"ddocker/settings"
)

// offers are the settings of a cluster with two types.
func offers() settings.Settings {
	s := settings.Default()
	s.Types = []settings.Type{
		{Name: "cpu", Cores: 2, Memory: 4 << 30},
		{Name: "1x TITAN Xp", Cores: 4, Memory: 8 << 30, GPUs: []string{"TITAN Xp"}},
	}
	return s
}

func TestWishBecomesARequest(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"nothing", `{"Image":"i"}`, `{}`},
		{"whole cores", `{"Image":"i","HostConfig":{"NanoCpus":2000000000}}`, `{"MilliCPU":2000}`},
		{"a fraction, rounded up to a thousandth", `{"Image":"i","HostConfig":{"NanoCpus":1500000001}}`, `{"MilliCPU":1501}`},
		{"a quota of a period", `{"Image":"i","HostConfig":{"CpuQuota":25000,"CpuPeriod":50000}}`, `{"MilliCPU":500}`},
		{"a quota of the kernel's own period", `{"Image":"i","HostConfig":{"CpuQuota":150000}}`, `{"MilliCPU":1500}`},
		{"no quota", `{"Image":"i","HostConfig":{"CpuQuota":-1,"CpuPeriod":0}}`, `{}`},
		{"very cores", `{"Image":"i","HostConfig":{"CpusetCpus":"0-1,3"}}`, `{"Cores":"0-1,3"}`},
		{"memory", `{"Image":"i","HostConfig":{"Memory":1073741824}}`, `{"Memory":1073741824}`},
		{"devices that are no cards", `{"Image":"i","HostConfig":{"Devices":[{"PathOnHost":"/dev/fuse"},{"PathOnHost":"/dev/dri"},{"PathOnHost":"/dev/char/10:229"}],"DeviceCgroupRules":["c 1:3 r","b *:* rwm"],"Binds":["/a:/b"]}}`, `{}`},
		{"two GPUs", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]]}]}}`, `{"GPUs":[{},{}]}`},
		{"all GPUs", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu","utility"]]}]}}`, `{"AllGPUs":true}`},
		{"all GPUs by ID", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["all"]}]}}`, `{"AllGPUs":true}`},
		{"GPUs by UUID", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["GPU-a","GPU-b"]}]}}`, `{"GPUs":[{"UUID":"GPU-a"},{"UUID":"GPU-b"}]}`},
		{"a GPU by model", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"model":"A100"}}]}}`, `{"GPUs":[{"Model":"A100"}]}`},
		{"GPUs by index", `{"Image":"i","HostConfig":{"DeviceRequests":[{"DeviceIDs":["0","1:0","0"],"Capabilities":[["gpu"]]}]}}`, `{"GPUs":[{"Index":"0"},{"Index":"1:0"}]}`},
		{"GPUs of a size", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]],"Options":{"mem":"20g"}}]}}`, `{"GPUs":[{"Memory":21474836480},{"Memory":21474836480}]}`},
		{"a MIG device by its profile", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":1,"Driver":"nvidia","Options":{"mig":"3g.40gb"}}]}}`, `{"GPUs":[{"Profile":"3g.40gb"}]}`},
		{"a GPU by index that must be large besides", `{"Image":"i","HostConfig":{"DeviceRequests":[{"DeviceIDs":["0"],"Driver":"nvidia","Options":{"mem":"1g","model":"A100"}}]}}`, `{"GPUs":[{"Model":"A100","Index":"0","Memory":1073741824}]}`},
		{"different GPUs", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":1,"Driver":"nvidia","Options":{"model":"A100"}},{"Count":1,"Driver":"nvidia"}]}}`, `{"GPUs":[{"Model":"A100"},{}]}`},
		{"GPUs as CDI names them", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=0","nvidia.com/gpu=GPU-a"]}]}}`, `{"GPUs":[{"Index":"0"},{"UUID":"GPU-a"}]}`},
		{"no GPU", `{"Image":"i","HostConfig":{"DeviceRequests":[{"Count":0,"Driver":"nvidia"}]}}`, `{}`},
		{"a type, and other GPUs than it has", `{"Image":"i","Labels":{"ddocker.type":"1x TITAN Xp"},"HostConfig":{"DeviceRequests":[{"Count":1,"Driver":"nvidia","Options":{"model":"A100"}}]}}`, `{"MilliCPU":4000,"Memory":8589934592,"GPUs":[{"Model":"A100"}]}`},
		{"a type by name", `{"Image":"i","Labels":{"ddocker.type":"1x TITAN Xp"}}`, `{"MilliCPU":4000,"Memory":8589934592,"GPUs":[{"Model":"TITAN Xp"}]}`},
		{"a type by number", `{"Image":"i","Labels":{"ddocker.type":"0"}}`, `{"MilliCPU":2000,"Memory":4294967296}`},
		{
			"a type, and more memory and fewer cores than it has",
			`{"Image":"i","Labels":{"ddocker.type":"cpu"},"HostConfig":{"NanoCpus":500000000,"Memory":17179869184}}`, `{"MilliCPU":500,"Memory":17179869184}`,
		},
		{
			"ports by number, chosen and of every kind",
			`{"Image":"i","HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"},{"HostIp":"127.0.0.1","HostPort":""}],"53/UDP":null,"9":[{"HostPort":"0"}]}}}`,
			`{"Ports":[{"Container":9,"Proto":"tcp"},{"Container":53,"Proto":"udp"},{"Host":8080,"Container":80,"Proto":"tcp"},{"IP":"127.0.0.1","Container":80,"Proto":"tcp"}]}`,
		},
		{"ports that the cluster chooses", `{"Image":"i","Labels":{"ddocker.ports":"2"}}`, `{"Ports":[{"Proto":"tcp"},{"Proto":"tcp"}]}`},
		{
			"every exposed port but those that are bound",
			`{"Image":"i","ExposedPorts":{"80/tcp":{},"81/udp":{}},"HostConfig":{"PublishAllPorts":true,"PortBindings":{"80/tcp":[{"HostPort":"80"}]}}}`,
			`{"Ports":[{"Host":80,"Container":80,"Proto":"tcp"},{"Container":81,"Proto":"udp"}]}`,
		},
		{"exposed is not published", `{"Image":"i","ExposedPorts":{"80/tcp":{}}}`, `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := readWish([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			_, r, err := w.request(offers())
			if got := string(raw(r)); err != nil || got != c.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestWishThatCannotBePlacedIsRefused(t *testing.T) {
	host := func(text string) string { return `{"Image":"i","HostConfig":{` + text + `}}` }
	for body, want := range map[string]string{
		`{}`:                         "no image is named",
		`{"Image":7}`:                "read the request",
		`{"Image":"i","Memory":1}`:   "stand in HostConfig",
		`{"Image":"i","Cpuset":"0"}`: "stand in HostConfig",
		`{"Image":"i","Labels":{"ddocker.type":"huge"}}`:                                            `no type "huge"; choose 0 "cpu", 1 "1x TITAN Xp"`,
		`{"Image":"i","Labels":{"ddocker.ports":"-1"}}`:                                             "no number of ports",
		`{"Image":"i","Labels":{"ddocker.ports":"1001"}}`:                                           "no number of ports",
		host(`"CpusetCpus":"x"`):                                                                    "Invalid value x for cpuset cpus: invalid format: x",
		host(`"PortBindings":{"80/tcp":[{"HostPort":"8000-8010"}]}`):                                `"8000-8010" is no port`,
		host(`"PortBindings":{"80/tcp":[{"HostPort":"65536"}]}`):                                    "is no port",
		host(`"PortBindings":{"80/tcp":[{"HostPort":"-1"}]}`):                                       "is no port",
		host(`"PortBindings":{"0/tcp":[{}]}`):                                                       "invalid port specification",
		host(`"PortBindings":{"8000-8010/tcp":[{}]}`):                                               "invalid port specification",
		host(`"DeviceRequests":[{"Count":2000000000,"Capabilities":[["gpu"]]}]`):                    "more than one host has",
		host(`"DeviceRequests":[{"Count":1,"DeviceIDs":["0"],"Capabilities":[["gpu"]]}]`):           "cannot set both Count and DeviceIDs on device request",
		host(`"DeviceRequests":[{"Count":-1,"DeviceIDs":["0"],"Capabilities":[["gpu"]]}]`):          "cannot set both Count and DeviceIDs on device request",
		host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"modle":"A100"}}]`):  `unknown option "modle" of a device request: known are model, mem (at least so much memory) and mig (a profile)`,
		host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"mem":"lots"}}]`):    "option mem=lots of a device request is no size",
		host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"mem":"-1"}}]`):      "is no size",
		host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"model":""}}]`):      `option "model" of a device request has no value`,
		host(`"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]],"Options":{"model":"A100"}}]`): "say how many instead",
		host(`"DeviceRequests":[{"DeviceIDs":["first"],"Capabilities":[["gpu"]]}]`):                 `"first" is no GPU: name one by its UUID or its index`,
		host(`"DeviceRequests":[{"DeviceIDs":["-1"],"Capabilities":[["gpu"]]}]`):                    `"-1" is no GPU`,
		host(`"DeviceRequests":[{"DeviceIDs":[""],"Capabilities":[["gpu"]]}]`):                      `"" is no GPU`,
		host(`"DeviceRequests":[{"Count":100,"Driver":"nvidia"},{"Count":100,"Driver":"nvidia"}]`):  "200 GPUs are more than one host has",
		host(`"Devices":[{"PathOnHost":"/dev/nvidia0"}]`):                                           "device /dev/nvidia0 would give the container an NVIDIA card",
		host(`"Devices":[{"PathOnHost":"//dev/./nvidia1"}]`):                                        "ask for cards with --gpus",
		host(`"Devices":[{"PathOnHost":"/dev"}]`):                                                   "ask for cards with --gpus",
		host(`"Devices":[{"PathOnHost":"/dev/char/195:0"}]`):                                        "ask for cards with --gpus",
		host(`"Annotations":{"cdi.k8s.io/a":"nvidia.com/gpu=all"}`):                                 "annotation cdi.k8s.io/a",
		host(`"Binds":["/dev/null:/var/run/nvidia-container-devices/all:ro"]`):                      "mount on /var/run/nvidia-container-devices/all",
		host(`"Mounts":[{"Type":"bind","Target":"/var/run/nvidia-container-devices/0"}]`):           "mount on",
		host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["vendor.com/device=a"]}]`):             "other than for GPUs",
	} {
		w, err := readWish([]byte(body))
		if err == nil {
			_, _, err = w.request(offers())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestDevicesAndRulesThatMayBeCardsAreRefused(t *testing.T) {
	refuses := func(host, want string) {
		t.Helper()
		w, err := readWish([]byte(`{"Image":"i","HostConfig":{` + host + `}}`))
		if err == nil {
			_, _, err = w.request(offers())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", host, err, want)
		}
	}
	for _, device := range []string{
		"/", "/dev", "/dev/", "dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-caps/nvidia-cap1", "/dev/char/195:0", "/dev/../dev/nvidia0", "/dev/dri/../nvidia0",
		"/dev/dri/by-path/../../fuse", "/proc/1/root/dev/nvidia0", "/proc/self/root/dev", "/sys", "/dev/fd/3", "/dev/shm/link", "/home/alice/link",
	} {
		refuses(`"Devices":[{"PathOnHost":"`+device+`"}]`, "device "+device+" would give the container an NVIDIA card")
	}
	for _, rule := range []string{"c 195:* rwm", "c 195:0 r", "c 0195:* rwm", "c *:* rwm", "c *:0 r", "a *:* rwm", "a 1:3 r"} {
		refuses(`"DeviceCgroupRules":["c 1:3 r","`+rule+`"]`, "rule "+rule+" for devices would give the container an NVIDIA card")
	}
	for _, rule := range []string{"", "c  195:* rmw", "c 195 r", "c c3:* rwm", " c 195:* rwm"} {
		refuses(`"DeviceCgroupRules":["`+rule+`"]`, "invalid device cgroup rule format: '"+rule+"'")
	}
}

func TestFilesAndNetworksOfOneHostPinAContainerToIt(t *testing.T) {
	overlay, err := options.Parse([]string{"-v /home:/home", "-v /scratch", "--mount type=volume,source=models,target=/models", "--network lab"})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := everywhere(overlay)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		``:                               "",
		`"Binds":["/home/alice:/data"]`:  "",
		`"Binds":["/home:/h:ro"]`:        "",
		`"Binds":["/homes:/h"]`:          "/homes",
		`"Binds":["/home/../etc:/e"]`:    "/home/../etc",
		`"Binds":["/srv:/srv"]`:          "/srv",
		`"Binds":["data:/data"]`:         "",
		`"Binds":["/anonymous"]`:         "",
		`"Binds":["/scratch/mine:/m"]`:   "/scratch/mine", // the option's /scratch is an anonymous volume
		`"Binds":["/home:/h","/srv:/s"]`: "/srv",
		`"Binds":["/var/run/docker.sock:/var/run/docker.sock"]`:       "", // every host has one
		`"Mounts":[{"Type":"bind","Source":"/srv","Target":"/s"}]`:    "/srv",
		`"Mounts":[{"Type":"bind","Source":"/home/x","Target":"/s"}]`: "",
		`"Mounts":[{"Type":"volume","Source":"v","Target":"/s"}]`:     "",
		`"Mounts":[{"Type":"tmpfs","Target":"/s"}]`:                   "",
	} {
		if got := hostWish(t, host).bound(shared); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

func hostWish(t *testing.T, host string) *wish {
	t.Helper()
	var w wish
	if err := json.Unmarshal([]byte(`{"HostConfig":{`+host+`}}`), &w); err != nil {
		t.Fatal(err)
	}
	return &w
}

func TestNetworksAndVolumesOfAWishAreThoseThatNotEveryHostHas(t *testing.T) {
	for host, want := range map[string]string{
		``:                             "[] []",
		`"Binds":["data:/data:ro"]`:    "[] [data]",
		`"Binds":["/anonymous"]`:       "[] []",
		`"Binds":["/srv:/s","v:/v"]`:   "[] [v]",
		`"NetworkMode":"bridge"`:       "[] []",
		`"NetworkMode":"default"`:      "[] []",
		`"NetworkMode":"container:me"`: "[] []",
		`"NetworkMode":"mine"`:         "[mine] []",
		`"Mounts":[{"Type":"volume","Source":"v","Target":"/s"},{"Type":"volume","Source":"v","Target":"/t"}]`: "[] [v]",
		`"Mounts":[{"Type":"volume","Target":"/s"}]`:                                                           "[] []",
		`"Mounts":[{"Type":"image","Source":"busybox","Target":"/s"}]`:                                         "[] []",
	} {
		w := hostWish(t, host)
		if got := fmt.Sprint(w.networks(), w.volumes()); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
	var w wish
	if err := json.Unmarshal([]byte(`{"NetworkingConfig":{"EndpointsConfig":{"default":{},"mine":{}}}}`), &w); err != nil {
		t.Fatal(err)
	}
	if got := w.networks(); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("an endpoint ties to %q", got)
	}
}

func TestCompanionIsTheContainerWhoseHostMustBeShared(t *testing.T) {
	for host, want := range map[string]string{
		``:                              "",
		`"NetworkMode":"container:web"`: "web",
		`"IpcMode":"container:web"`:     "web",
		`"PidMode":"container:web"`:     "web",
		`"PidMode":"host"`:              "",
		`"VolumesFrom":["web:ro"]`:      "web",
		`"Links":["web:db"]`:            "web",
	} {
		var w wish
		if err := json.Unmarshal([]byte(`{"HostConfig":{`+host+`}}`), &w); err != nil {
			t.Fatal(err)
		}
		if got := w.companion(); got != want {
			t.Errorf("%s: got %q", host, got)
		}
	}
}

func TestWithinIsAQuestionOfWholeElements(t *testing.T) {
	for _, c := range []struct {
		source, shared string
		want           bool
	}{
		{"/home", "/home", true}, {"/home/", "/home", true}, {"/home/a", "/home/", true}, {"/homes", "/home", false},
		{"/home/../etc", "/home", false}, {"/", "/home", false}, {"/etc", "/", true}, {"data", "data", true}, {"data2", "data", false}, {"", "/", false},
	} {
		if got := within(c.source, []string{c.shared}); got != c.want {
			t.Errorf("%q within %q: %v", c.source, c.shared, got)
		}
	}
}

func TestTypeColumnSaysWhatIsHeld(t *testing.T) {
	for want, g := range map[string]sched.Grant{
		"-":                          {},
		"2 cpus,4g mem":              {Cores: sched.CPUs(0, 1), Memory: 4 << 30},
		"0.5 cpus":                   {MilliCPU: 500},
		"1 cpus,512m mem,2 TITAN Xp": {Cores: sched.CPUs(0), Memory: 512 << 20, GPUs: []string{"a", "b"}},
	} {
		if got := typeWords(&g, []sched.GPUWish{{Model: "TITAN Xp"}, {Model: "TITAN Xp"}}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for want, wishes := range map[string][]sched.GPUWish{
		"3 gpus":                       nil, // all, or those of a container from outside
		"2 A100,1 gpus":                {{Model: "A100"}, {}, {Model: "A100"}},
		"1 gpus,1 gpus mem>=20g,1 K80": {{UUID: "a"}, {Memory: 20 << 30}, {Model: "K80"}},
		"2 MIG 3g.40gb,1 A100 MIG 1g.5gb mem>=4.5g": {{Profile: "3g.40gb"}, {Profile: "3g.40gb"}, {Model: "A100", Profile: "1g.5gb", Memory: 9 << 29}},
	} {
		if got := typeWords(&sched.Grant{GPUs: []string{"a", "b", "c"}}, wishes); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := fmt.Sprint(portWords(&sched.Grant{Ports: []sched.Binding{{Host: 80, Container: 8080, Proto: "tcp"}, {IP: "::1", Host: 53, Container: 53, Proto: "udp"}}})); got != "[0.0.0.0:80->8080/tcp ::1:53->53/udp]" {
		t.Error(got)
	}
}
