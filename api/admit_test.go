package api

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ddocker/settings"
)

var update = flag.Bool("update", false, "write testdata/admit.txt anew")

// bodies are the bodies that rules are for.
func bodies() map[string]struct {
	shape shape
	rules map[string]admission
} {
	type body = struct {
		shape shape
		rules map[string]admission
	}
	return map[string]body{
		"create":  {createShape(), createRules()},
		"update":  {updateShape(), resourceRules()},
		"commit":  {commitShape(), configRules()},
		"exec":    {execShape(), execRules()},
		"volume":  {volumeShape(), volumeRules()},
		"network": {networkShape(), networkRules()},
		"connect": {connectShape(), connectRules()},
	}
}

// What a field that Docker knows is to users must be decided when it comes: every one of
// them, with a value in it, is free, refused, or refused but for a word.
func TestEveryFieldThatDockerKnowsIsDecided(t *testing.T) {
	var lines []string
	for of, b := range bodies() {
		for path, body := range samples(b.shape) {
			lines = append(lines, of+" "+path+": "+decision((&gate{user: "bob"}).admitFields(b.rules, "", []byte(body))))
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/admit.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/admit.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Split(string(want), "\n")
	for _, line := range lines {
		if !slices.Contains(known, line) {
			t.Errorf("not decided: %s", line)
		}
	}
	if len(known) != len(lines)+1 {
		t.Errorf("%d fields are decided, and %d are there", len(known)-1, len(lines))
	}
}

func decision(err error) string {
	switch {
	case err == nil:
		return "free"
	case strings.Contains(err.Error(), "only admins may"):
		return "for admins"
	}
	if m := regexp.MustCompile(`with "([a-z-]+)`).FindStringSubmatch(err.Error()); m != nil {
		return "by " + m[1]
	}
	return err.Error()
}

// samples returns a body for each field of the shape, by the field's path.
func samples(s shape) map[string]string {
	found := map[string]string{}
	for _, f := range s.plain().fields() {
		for path, value := range samplesOf(f.kinds) {
			found[strings.TrimSuffix(f.name+"."+path, ".")] = `{"` + f.name + `":` + value + `}`
		}
	}
	return found
}

// samplesOf returns values in which one thing is said, by its path.
func samplesOf(kinds shape) map[string]string {
	plain, found := kinds.plain(), map[string]string{}
	switch {
	case len(plain) == 0: // has its own way to be read: a text, or a list of them
		found[""] = `"7"`
	case plain.have(reflect.Struct):
		return samples(plain)
	case plain.have(reflect.Map):
		for path, value := range samplesOf(plain.elements(reflect.Map)) {
			found[path] = `{"key":` + value + `}`
		}
	case plain.have(reflect.Slice):
		for path, value := range samplesOf(plain.elements(reflect.Slice)) {
			found[path] = `[` + value + `]`
		}
	case plain.have(reflect.Bool):
		found[""] = "true"
	case plain.have(reflect.String):
		found[""] = `"x"`
	case plain.have(reflect.Array):
		found[""] = "[7,7]"
	default:
		found[""] = "2000"
	}
	if len(found) == 0 { // of a struct without fields
		found[""] = `"7"`
	}
	return found
}

// saying is a gate for bob where the settings say so.
func saying(t *testing.T, info string) *gate {
	t.Helper()
	f, err := settings.Parse("i", []byte(info))
	if err != nil {
		t.Fatal(err)
	}
	return &gate{user: "bob", s: f.Settings}
}

func TestUsersMaySayWhatConcernsThemselves(t *testing.T) {
	g := saying(t, `{"bind_roots":["/home/{user}","/data/sets"]}`)
	for _, host := range []string{
		`{}`, `null`, `{"Privileged":false,"CapAdd":null,"Devices":[],"CgroupParent":"","SecurityOpt":null,"MaskedPaths":null,"OomScoreAdj":0,"UTSMode":"","Runtime":""}`,
		`{"Binds":["/home/bob:/home/bob","/data/sets/a:/a:ro,rslave","data:/x","/anonymous"]}`,
		`{"Mounts":[{"Type":"bind","Source":"/home/bob/x","Target":"/x","BindOptions":{"Propagation":"rprivate"}},{"Type":"volume","Source":"data","Target":"/y"},{"Type":"tmpfs","Target":"/z"}]}`,
		`{"CapAdd":["CHOWN","cap_net_raw"],"CapDrop":["ALL"],"SecurityOpt":["no-new-privileges:true"]}`,
		`{"NetworkMode":"none","IpcMode":"shareable","CgroupnsMode":"private","PidMode":"container:a","UsernsMode":""}`,
		`{"Memory":1000,"MemorySwap":2000,"NanoCpus":5,"CpuShares":1024,"Ulimits":[{"Name":"nofile","Soft":9,"Hard":9}]}`,
		`{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}},"RestartPolicy":{"Name":"always"},"Runtime":"nvidia"}`,
		`{"MemorySwappiness":-1,"PidsLimit":-1,"ShmSize":8,"Init":true,"StorageOpt":{"size":"1g"},"ConsoleSize":[24,80]}`,
	} {
		if err := g.admitFields(createRules(), "", []byte(`{"Image":"i","HostConfig":`+host+`}`)); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// overreach is what of a HostConfig is not for users, the words of the refusal, and the
// word by which an admin allows it.
type overreach struct{ host, field, word string }

func overreaches() []overreach {
	return []overreach{
		{`"Privileged":true`, "HostConfig.Privileged", "privileged"},
		{`"CapAdd":["sys_ptrace"]`, "HostConfig.CapAdd SYS_PTRACE", "cap-add=SYS_PTRACE"},
		{`"CapAdd":["CHOWN","CAP_SYS_ADMIN"]`, "HostConfig.CapAdd SYS_ADMIN", "cap-add=CAP_SYS_ADMIN"},
		{`"CapAdd":["ALL"]`, "HostConfig.CapAdd ALL", "cap-add=ALL"},
		{`"Devices":[{"PathOnHost":"/dev/fuse"}]`, "HostConfig.Devices.PathOnHost /dev/fuse", "device=/dev/fuse"},
		{`"Devices":[{"PathOnHost":"/dev/./fuse/../sda"}]`, "HostConfig.Devices.PathOnHost /dev/sda", "devices"},
		{`"DeviceCgroupRules":["c 1:3 mr"]`, "HostConfig.DeviceCgroupRules", "devices"},
		{`"PidMode":"host"`, "HostConfig.PidMode host", "host-pid"},
		{`"IpcMode":"host"`, "HostConfig.IpcMode host", "host-ipc"},
		{`"NetworkMode":"host"`, "HostConfig.NetworkMode host", "host-network"},
		{`"UTSMode":"host"`, "HostConfig.UTSMode host", "host-uts"},
		{`"UTSMode":"container:a"`, "HostConfig.UTSMode", ""},
		{`"UsernsMode":"host"`, "HostConfig.UsernsMode host", "host-userns"},
		{`"CgroupnsMode":"host"`, "HostConfig.CgroupnsMode host", "host-cgroupns"},
		{`"Cgroup":"container:a"`, "HostConfig.Cgroup", ""},
		{`"CgroupParent":"/system.slice"`, "HostConfig.CgroupParent", "cgroup-parent"},
		{`"SecurityOpt":["seccomp=unconfined"]`, "HostConfig.SecurityOpt seccomp=unconfined", "security-opt=seccomp=unconfined"},
		{`"SecurityOpt":["apparmor=unconfined"]`, "HostConfig.SecurityOpt", "security-opts"},
		{`"SecurityOpt":["no-new-privileges:false"]`, "HostConfig.SecurityOpt", "security-opts"},
		{`"MaskedPaths":[]`, "HostConfig.MaskedPaths", "security-opts"},
		{`"ReadonlyPaths":[]`, "HostConfig.ReadonlyPaths", "security-opts"},
		{`"Runtime":"sysbox"`, "HostConfig.Runtime sysbox", "runtime=sysbox"},
		{`"Sysctls":{"net.core.somaxconn":"1"}`, "HostConfig.Sysctls net.core.somaxconn", "sysctl=net.core.somaxconn"},
		{`"Sysctls":{"kernel.msgmax":"1"}`, "HostConfig.Sysctls", "sysctls"},
		{`"LogConfig":{"Type":"syslog","Config":{"syslog-address":"unix:///run/x"}}`, "HostConfig.LogConfig.Type syslog", "log-driver=syslog"},
		{`"LogConfig":{"Config":{"path":"/etc"}}`, "HostConfig.LogConfig.Config path", ""},
		{`"OomScoreAdj":-1`, "HostConfig.OomScoreAdj", "priority"},
		{`"OomKillDisable":true`, "HostConfig.OomKillDisable", "priority"},
		{`"CpuShares":1025`, "HostConfig.CpuShares", "priority"},
		{`"Ulimits":[{"Name":"RtPrio","Soft":99,"Hard":99}]`, "HostConfig.Ulimits.Name RtPrio", "priority"},
		{`"MemorySwap":-1`, "HostConfig.MemorySwap", "swap"},
		{`"Memory":1000,"MemorySwap":2001`, "HostConfig.MemorySwap", "swap"},
		{`"VolumeDriver":"nfs"`, "HostConfig.VolumeDriver nfs", "volume-driver=nfs"},
		{`"Annotations":{"run.oci.hooks.stderr":"/x"}`, "HostConfig.Annotations", "annotations"},
		{`"StorageOpt":{"dm.basesize":"1"}`, "HostConfig.StorageOpt dm.basesize", ""},
		{`"Binds":["/:/host"]`, `HostConfig.Binds / is not for users to mount`, ""},
		{`"Binds":["/home/bobby:/x"]`, `none is listed`, ""},
		{`"Binds":["/var/run/docker.sock:/s"]`, `not for users to mount`, ""},
		{`"Binds":["v:/x:shared"]`, "HostConfig.Binds v:/x:shared", ""},
		{`"Binds":["v:/x:ro:rw"]`, "invalid volume specification", ""},
		{`"Binds":[":/x"]`, "invalid volume specification", ""},
		{`"Mounts":[{"Type":"bind","Source":"/etc","Target":"/x"}]`, "HostConfig.Mounts.Source /etc", ""},
		{`"Mounts":[{"Type":"bind","Source":"etc","Target":"/x"}]`, "HostConfig.Mounts.Source etc", ""},
		{`"Mounts":[{"Type":"volume","Source":"/etc","Target":"/x"}]`, "HostConfig.Mounts.Source /etc", ""},
		{`"Mounts":[{"Type":"npipe","Target":"/x"}]`, "HostConfig.Mounts.Type npipe", ""},
		{`"Mounts":[{"Type":"volume","BindOptions":{"Propagation":"rshared"}}]`, "HostConfig.Mounts.BindOptions.Propagation rshared", ""},
		{`"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"o":"bind","device":"/"}}}}]`, "HostConfig.Mounts.VolumeOptions.DriverConfig.Options", "volume-options"},
		{`"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Name":"nfs"}}}]`, "HostConfig.Mounts.VolumeOptions.DriverConfig.Name nfs", "volume-driver=nfs"},
		{`"Mounts":{"a":{"Type":"bind","Source":"/etc"}}`, "HostConfig.Mounts.Source /etc", ""},
		{`"Privileged":"yes"`, "HostConfig.Privileged", ""},
		{`"CapAdd":[["ALL"]]`, "HostConfig.CapAdd is not what Docker has there", ""},
		{`"Binds":"/:/host"`, "HostConfig.Binds is not what Docker has there", ""},
		{`"FutureThing":1`, "HostConfig.FutureThing", ""},
	}
}

// Each is refused by the name of its field, and is not where an admin allows it by the
// word; without one it never is.
func TestUsersMayNotSayWhatConcernsOthers(t *testing.T) {
	for _, c := range overreaches() {
		body := []byte(`{"Image":"i","HostConfig":{` + c.host + `}}`)
		err := saying(t, `{}`).admitFields(createRules(), "", body)
		if err == nil || !strings.Contains(err.Error(), c.field) || c.word != "" && !strings.Contains(err.Error(), `"allow" of the settings`) {
			t.Errorf("%s: %v", c.host, err)
		}
		if c.word == "" {
			continue
		}
		if err := saying(t, `{"allow":["`+c.word+`"]}`).admitFields(createRules(), "", body); err != nil {
			t.Errorf("%s, where %q is allowed: %v", c.host, c.word, err)
		}
		other := `{"allow":["build","cap-add=SYS_TIME","device=/dev/kvm","sysctl=a","security-opt=a","runtime=a","log-driver=gelf","volume-driver=a"]}`
		if err := saying(t, other).admitFields(createRules(), "", body); err == nil {
			t.Errorf("%s, where others are allowed, is let through", c.host)
		}
	}
}

func TestEveryWordOfTheSettingsAllowsSomething(t *testing.T) {
	text, err := os.ReadFile("testdata/admit.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := []string{settings.AllowBuild} // see the test of builds
	for _, line := range strings.Split(string(text), "\n") {
		_, word, _ := strings.Cut(line, ": by ")
		used = append(used, word)
	}
	for _, c := range overreaches() {
		word, _, _ := strings.Cut(c.word, "=")
		used = append(used, word)
	}
	for _, word := range settings.Allowances() {
		if !slices.Contains(used, word) {
			t.Errorf("%q allows nothing", word)
		}
	}
}

func TestPathsAreTakenAsTheyAreWritten(t *testing.T) {
	g := saying(t, `{"bind_roots":["/home/{user}","/data/sets"]}`)
	for source, ok := range map[string]bool{
		"/home/bob": true, "/home/bob/": true, "/home/bob/a b": true, "/home//bob/./x": true, "/data/sets/x": true,
		"/home": false, "/": false, "/home/bobby": false, "/home/alice": false, "/data": false, "/data/setsx": false,
		"/home/bob/../alice": false, "/home/bob/x/../y": false, "": false, "home/bob": false, "/proc/1/root": false,
	} {
		if err := g.below("Binds", source); ok != (err == nil) {
			t.Errorf("%q: %v", source, err)
		}
	}
	if err := (&gate{user: "a/..", s: g.s}).below("Binds", "/home/a"); err == nil {
		t.Error("a name that climbs has a root")
	}
}

// FuzzAdmission has whatever is admitted read as engines read it, by both of Docker's
// types, and looked at without the rules.
func FuzzAdmission(f *testing.F) {
	for _, seed := range []string{
		`{"Image":"a","HostConfig":{"Privileged":true}}`, `{"hostconfig":{"privileged":true}}`, `{"HostConfig":{"Binds":["/home/bob:/x","/:/y"]}}`,
		`{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/home/bob/../x","Target":"/x"}],"CapAdd":["ALL"],"MaskedPaths":[]}}`,
		`{"HostConfig":{"PidMode":"host","IpcMode":"container:a","Devices":[{"PathOnHost":"/dev/sda"}]},"NetworkingConfig":{"EndpointsConfig":{"host":{}}}}`,
		`{"HostConfig":{"SecurityOpt":["no-new-privileges"],"Ulimits":[{"Name":"rtprio"}],"Memory":1,"MemorySwap":-1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := createShape().read(body)
		if err != nil {
			return
		}
		g := &gate{user: "bob", s: settings.Settings{BindRoots: []string{"/home/{user}"}}}
		if g.admitFields(createRules(), "", raw(fields)) != nil {
			return
		}
		for _, as := range []dangerous{new(oldBody), new(newBody)} {
			if json.Unmarshal(raw(fields), as) != nil {
				continue // the engine refuses it
			}
			if why := as.danger(); why != "" {
				t.Errorf("%s is let through with %s", raw(fields), why)
			}
		}
	})
}
