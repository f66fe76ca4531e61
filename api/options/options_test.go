package options_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"ddocker/api/options"
)

// applied is a body after the flags, decoded.
func applied(t *testing.T, body string, lines ...string) map[string]any {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal(appliedRaw(t, body, lines...), &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func appliedRaw(t *testing.T, body string, lines ...string) []byte {
	t.Helper()
	o, err := options.Parse(lines)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &raw); err != nil {
		t.Fatal(err)
	}
	if err := o.Apply(raw); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func equal(t *testing.T, got map[string]any, want string) {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal([]byte(want), &decoded); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, decoded) {
		text, _ := json.Marshal(got)
		t.Errorf("body is\n%s, want\n%s", text, want)
	}
}

func TestAFlagFillsItsFieldOfAnEmptyBody(t *testing.T) {
	for flag, want := range map[string]string{
		"--add-host db=[::1]":                          `{"HostConfig":{"ExtraHosts":["db:::1"]}}`,
		"--annotation a=b":                             `{"HostConfig":{"Annotations":{"a":"b"}}}`,
		"--cap-add SYS_PTRACE --cap-add SYS_NICE":      `{"HostConfig":{"CapAdd":["SYS_PTRACE","SYS_NICE"]}}`,
		"--cap-drop ALL":                               `{"HostConfig":{"CapDrop":["ALL"]}}`,
		"--cgroup-parent /x":                           `{"HostConfig":{"CgroupParent":"/x"}}`,
		"--cgroupns private":                           `{"HostConfig":{"CgroupnsMode":"private"}}`,
		"--device /dev/fuse":                           `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/fuse","PathInContainer":"/dev/fuse","CgroupPermissions":"rwm"}]}}`,
		"--device /dev/a:r":                            `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/a","PathInContainer":"/dev/a","CgroupPermissions":"r"}]}}`,
		"--device /dev/a:/dev/b":                       `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/a","PathInContainer":"/dev/b","CgroupPermissions":"rwm"}]}}`,
		"--device /dev/a:/dev/b:rw":                    `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/a","PathInContainer":"/dev/b","CgroupPermissions":"rw"}]}}`,
		"--device-cgroup-rule 'c 1:3 r'":               `{"HostConfig":{"DeviceCgroupRules":["c 1:3 r"]}}`,
		"--dns 10.0.0.1 --dns ::1":                     `{"HostConfig":{"Dns":["10.0.0.1","::1"]}}`,
		"--dns-opt a --dns-option b":                   `{"HostConfig":{"DnsOptions":["a","b"]}}`,
		"--dns-search lab.example":                     `{"HostConfig":{"DnsSearch":["lab.example"]}}`,
		"--domainname lab":                             `{"Domainname":"lab"}`,
		"--entrypoint /bin/tini":                       `{"Entrypoint":["/bin/tini"]}`,
		`-e A=1 --env "B=x  <y>"`:                      `{"Env":["A=1","B=x  <y>"]}`,
		"-e COLOUR=#fff":                               `{"Env":["COLOUR=#fff"]}`,
		"--expose 80 --expose 90-91/udp":               `{"ExposedPorts":{"80/tcp":{},"90/udp":{},"91/udp":{}}}`,
		"--group-add docker":                           `{"HostConfig":{"GroupAdd":["docker"]}}`,
		"--init":                                       `{"HostConfig":{"Init":true}}`,
		"--init=false":                                 `{"HostConfig":{"Init":false}}`,
		"-it":                                          `{"OpenStdin":true,"Tty":true}`,
		"--ipc=host":                                   `{"HostConfig":{"IpcMode":"host"}}`,
		"-l a=b --label c":                             `{"Labels":{"a":"b","c":""}}`,
		"--log-driver json-file --log-opt max-size=9m": `{"HostConfig":{"LogConfig":{"Type":"json-file","Config":{"max-size":"9m"}}}}`,
		"--memory-swap -1":                             `{"HostConfig":{"MemorySwap":-1}}`,
		"--memory-swap 1g":                             `{"HostConfig":{"MemorySwap":1073741824}}`,
		"--memory-swappiness 0":                        `{"HostConfig":{"MemorySwappiness":0}}`,
		"--mount type=bind,src=/a,dst=/b,ro":           `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}]}}`,
		"--net host":                                   `{"HostConfig":{"NetworkMode":"host"}}`,
		"--network lab":                                `{"HostConfig":{"NetworkMode":"lab"}}`,
		"--oom-kill-disable":                           `{"HostConfig":{"OomKillDisable":true}}`,
		"--oom-score-adj -500":                         `{"HostConfig":{"OomScoreAdj":-500}}`,
		"--pid host":                                   `{"HostConfig":{"PidMode":"host"}}`,
		"--pids-limit 4096":                            `{"HostConfig":{"PidsLimit":4096}}`,
		"--privileged":                                 `{"HostConfig":{"Privileged":true}}`,
		"--read-only":                                  `{"HostConfig":{"ReadonlyRootfs":true}}`,
		"--restart on-failure:3":                       `{"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}}`,
		"--runtime nvidia":                             `{"HostConfig":{"Runtime":"nvidia"}}`,
		"--security-opt seccomp=unconfined":            `{"HostConfig":{"SecurityOpt":["seccomp=unconfined"]}}`,
		"--security-opt no-new-privileges":             `{"HostConfig":{"SecurityOpt":["no-new-privileges"]}}`,
		"--shm-size 8g":                                `{"HostConfig":{"ShmSize":8589934592}}`,
		"--shm-size 1g --shm-size 2g":                  `{"HostConfig":{"ShmSize":2147483648}}`,
		"--stop-signal SIGINT":                         `{"StopSignal":"SIGINT"}`,
		"--stop-timeout 0":                             `{"StopTimeout":0}`,
		"--storage-opt size=10G":                       `{"HostConfig":{"StorageOpt":{"size":"10G"}}}`,
		"--sysctl net.core.somaxconn=9":                `{"HostConfig":{"Sysctls":{"net.core.somaxconn":"9"}}}`,
		"--tmpfs /run:size=1m --tmpfs /tmp":            `{"HostConfig":{"Tmpfs":{"/run":"size=1m","/tmp":""}}}`,
		"--ulimit nofile=1:2":                          `{"HostConfig":{"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}]}}`,
		"-u 1000:1000":                                 `{"User":"1000:1000"}`,
		"--userns host":                                `{"HostConfig":{"UsernsMode":"host"}}`,
		"--uts host":                                   `{"HostConfig":{"UTSMode":"host"}}`,
		"-v /home:/home:ro,z -v data:/data":            `{"HostConfig":{"Binds":["/home:/home:ro,z","data:/data"]}}`,
		"-v /scratch":                                  `{"Volumes":{"/scratch":{}}}`,
		"--volume-driver local":                        `{"HostConfig":{"VolumeDriver":"local"}}`,
		"-w /work":                                     `{"WorkingDir":"/work"}`,
		"# nothing":                                    `{}`,
		"":                                             `{}`,
	} {
		t.Run(flag, func(t *testing.T) { equal(t, applied(t, `{}`, flag), want) })
	}
}

func TestWhatTheClusterDecidesIsRefusedByName(t *testing.T) {
	const sized = " is decided by the cluster: use types"
	for line, want := range map[string]string{
		"--gpus all":                    "--gpus" + sized,
		"--cpus=2":                      "--cpus" + sized,
		"-m 1g":                         "--memory" + sized,
		"--cpuset-cpus 0-3":             "--cpuset-cpus" + sized,
		"-p 80:80":                      "--publish is decided by the cluster: ports are given from start_port_num",
		"-P":                            "--publish-all is decided by the cluster: ports are given from start_port_num",
		"--name x":                      "--name belongs to one container, not to all of them",
		"-h x":                          "--hostname belongs to one container, not to all of them",
		"--rm":                          "--rm belongs to one container, not to all of them",
		"-itd":                          "--detach needs somebody who waits for the container",
		"--env-file /x":                 "--env-file names a file of one host: write its content here",
		"--isolation x":                 "unknown flag: --isolation",
		"-x":                            "unknown shorthand flag: 'x' in -x",
		"--help":                        "unknown flag: --help",
		"ubuntu":                        `"ubuntu" is no flag`,
		"-t -- ls":                      `"ls" is no flag`,
		"-v":                            "flag needs an argument: 'v' in -v",
		"-v '/a:/b":                     `split "-v '/a:/b" into words: EOF found when expecting closing quote`,
		"-e HOME":                       `invalid argument "HOME" for "-e, --env" flag: has no value, and there is nobody's environment to take it from`,
		"-e NVIDIA_VISIBLE_DEVICES=all": `invalid argument "NVIDIA_VISIBLE_DEVICES=all" for "-e, --env" flag: which GPUs are seen is decided by the cluster: use types`,
	} {
		_, err := options.Parse([]string{line})
		if err == nil || err.Error() != want {
			t.Errorf("%s is refused with\n%v, want\n%s", line, err, want)
		}
	}
}

func TestAWrongValueIsRefused(t *testing.T) {
	for _, line := range []string{
		"--add-host db", "--annotation =b", "--cgroupns x", "--device fuse", "--device /a:/b:x", "--device /a:/b:rw:c",
		"--dns example", "--dns-search '!'", "-e =x", "--expose x", "--init=perhaps", "--ipc x", "--ipc container:a",
		"--label ' '", "--label ddocker.placement=1", "--memory-swap x", "--memory-swappiness 101", "--mount src=./a,dst=/a",
		"--mount type=bind", "--mount type=bind,dst=/a", "--mount src=a,dst=a", "--mount src=", "--net container:a", "--net name=a,alias=b", "--oom-score-adj 1001", "--pid container:a",
		"--pids-limit -2", "--restart sometimes", "--restart always:3", "--security-opt label", "--security-opt seccomp=/p.json",
		"--security-opt systempaths=unconfined", "--shm-size lots", "--stop-timeout x", "--sysctl vm.swappiness=1",
		"--tmpfs run", "--ulimit nofile", "--uts x", "-v ./a:/a", "-v ~/a:/a", "-v a:b", "-v /a:/", "-v /a:/b:ro:z",
		"-v /a:/b:r0", "-v data", "-v :/b", "-w work",
	} {
		if _, err := options.Parse([]string{line}); err == nil {
			t.Errorf("%s is taken", line)
		}
	}
}

func TestARefusalNamesItsLine(t *testing.T) {
	_, err := options.Parse([]string{"-t", "--init", "--gpus all", "--bad"})
	var refused *options.Error
	if !errors.As(err, &refused) || refused.Line != 2 {
		t.Errorf("error is %#v, want one of line 2", err)
	}
}

func TestTheBodysOwnWins(t *testing.T) {
	for _, c := range []struct{ name, flags, body, want string }{
		{"variable", "-e A=1 -e B=2", `{"Env":["A=own","C"]}`, `{"Env":["A=own","C","B=2"]}`},
		{"label", "-l a=1 -l b=2", `{"Labels":{"a":"own"}}`, `{"Labels":{"a":"own","b":"2"}}`},
		{"user", "-u root", `{"User":"me"}`, `{"User":"me"}`},
		{"size", "--shm-size 1g", `{"HostConfig":{"ShmSize":5}}`, `{"HostConfig":{"ShmSize":5}}`},
		{"bind on a bind's target", "-v /a:/x/ -v /b:/y", `{"HostConfig":{"Binds":["/own:/x:ro"]}}`, `{"HostConfig":{"Binds":["/own:/x:ro","/b:/y"]}}`},
		{"bind on a mount's target", "-v /a:/x", `{"HostConfig":{"Mounts":[{"Target":"/x"}]}}`, `{"HostConfig":{"Mounts":[{"Target":"/x"}],"Binds":[]}}`},
		{"bind on a tmpfs", "-v /a:/x", `{"HostConfig":{"Tmpfs":{"/x/":""}}}`, `{"HostConfig":{"Tmpfs":{"/x/":""},"Binds":[]}}`},
		{"tmpfs on a volume", "--tmpfs /x", `{"Volumes":{"/x":{}}}`, `{"Volumes":{"/x":{}},"HostConfig":{"Tmpfs":{}}}`},
		{"mount on a bind's target", "--mount type=tmpfs,dst=/x", `{"HostConfig":{"Binds":["/own:/x"]}}`, `{"HostConfig":{"Binds":["/own:/x"],"Mounts":[]}}`},
		{"device", "--device /dev/a:/dev/b", `{"HostConfig":{"Devices":[{"PathInContainer":"/dev/b"}]}}`, `{"HostConfig":{"Devices":[{"PathInContainer":"/dev/b"}]}}`},
		{"ulimit", "--ulimit core=1", `{"HostConfig":{"Ulimits":[{"Name":"core"}]}}`, `{"HostConfig":{"Ulimits":[{"Name":"core"}]}}`},
		{"security option", "--security-opt seccomp=unconfined", `{"HostConfig":{"SecurityOpt":["seccomp={}"]}}`, `{"HostConfig":{"SecurityOpt":["seccomp={}"]}}`},
		{"host", "--add-host a:1.1.1.1", `{"HostConfig":{"ExtraHosts":["a:2.2.2.2"]}}`, `{"HostConfig":{"ExtraHosts":["a:2.2.2.2"]}}`},
		{"capability given twice", "--cap-add X", `{"HostConfig":{"CapAdd":["X"]}}`, `{"HostConfig":{"CapAdd":["X"]}}`},
		{"log driver", "--log-driver syslog --log-opt tag=x", `{"HostConfig":{"LogConfig":{"Type":"none","Config":{}}}}`, `{"HostConfig":{"LogConfig":{"Type":"none","Config":{}}}}`},
		{"removal over restart", "--restart always", `{"HostConfig":{"AutoRemove":true}}`, `{"HostConfig":{"AutoRemove":true}}`},
		{"network", "--net lab", `{"HostConfig":{"NetworkMode":"mine"},"NetworkingConfig":{"EndpointsConfig":{"default":{}}}}`, `{"HostConfig":{"NetworkMode":"mine"},"NetworkingConfig":{"EndpointsConfig":{"default":{}}}}`},
		{"name in another case", "-u root -e A=1", `{"user":"me","env":["A=own"]}`, `{"user":"me","env":["A=own"]}`},
	} {
		t.Run(c.name, func(t *testing.T) { equal(t, applied(t, c.body, c.flags), c.want) })
	}
}

func TestWhatDockerSendsUnaskedIsOpen(t *testing.T) {
	body := `{"User":"","Tty":false,"Env":null,"Labels":{},"HostConfig":{"NetworkMode":"default","MemorySwappiness":-1,
		"LogConfig":{"Type":"","Config":{}},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"PidsLimit":0,"Dns":[]},
		"NetworkingConfig":{"EndpointsConfig":{"default":{"Links":null,"GwPriority":0}}}}`
	got := applied(t, body, "-t -u me -e A=1 -l a=b", "--net lab --memory-swappiness 7 --log-driver x --log-opt y=z",
		"--restart always --pids-limit 9 --dns 1.1.1.1")
	equal(t, got, `{"User":"me","Tty":true,"Env":["A=1"],"Labels":{"a":"b"},"HostConfig":{"NetworkMode":"lab","MemorySwappiness":7,
		"LogConfig":{"Type":"x","Config":{"y":"z"}},"RestartPolicy":{"Name":"always","MaximumRetryCount":0},"PidsLimit":9,"Dns":["1.1.1.1"]},
		"NetworkingConfig":{"EndpointsConfig":{}}}`)
}

func TestAnAskedEndpointFollowsTheNetwork(t *testing.T) {
	got := applied(t, `{"NetworkingConfig":{"EndpointsConfig":{"default":{"MacAddress":"02:00:00:00:00:01"}}}}`, "--net lab")
	equal(t, got, `{"HostConfig":{"NetworkMode":"lab"},"NetworkingConfig":{"EndpointsConfig":{"lab":{"MacAddress":"02:00:00:00:00:01"}}}}`)
}

func TestUnnamedValuesKeepTheirBytes(t *testing.T) {
	o, err := options.Parse([]string{"--init", "-e A=1"})
	if err != nil {
		t.Fatal(err)
	}
	odd := `{ "b" : 1.0,  "a":"<\u00e9>" }`
	body := map[string]json.RawMessage{
		"New":        json.RawMessage(odd),
		"Env":        json.RawMessage(`[ "\u003cx=1" ]`),
		"HostConfig": json.RawMessage(`{"New":` + odd + `}`),
	}
	if err := o.Apply(body); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"New":        odd,
		"Env":        `["\u003cx=1","A=1"]`,
		"HostConfig": `{"Init":true,"New":` + odd + `}`,
	} {
		if got := string(body[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

func TestABodyThatIsNoCreateRequestIsRefused(t *testing.T) {
	o, err := options.Parse([]string{"-e A=1", "-v /a:/a", "-l a=b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"Env":1}`, `{"Labels":[]}`, `{"HostConfig":[]}`, `{"HostConfig":{"Binds":"/a"}}`,
		`{"Env":[],"env":[]}`, `{"HostConfig":{},"hostconfig":{}}`,
	} {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &raw); err != nil {
			t.Fatal(err)
		}
		if err := o.Apply(raw); err == nil {
			t.Errorf("%s is taken", body)
		}
	}
}

func TestAnOverlayServesManyBodies(t *testing.T) {
	o, err := options.Parse([]string{"-e A=1 -e B=2 --log-opt a=b"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		body := map[string]json.RawMessage{"Env": json.RawMessage(`["C=3"]`)}
		if err := o.Apply(body); err != nil {
			t.Fatal(err)
		}
		if got := string(body["Env"]); got != `["C=3","A=1","B=2"]` {
			t.Errorf("Env is %s", got)
		}
	}
	body := map[string]json.RawMessage{}
	if err := new(options.Overlay).Apply(body); err != nil || len(body) > 0 {
		t.Errorf("an overlay of no flags makes %v, %v", body, err)
	}
}
