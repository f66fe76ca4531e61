package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// as has the next requests come from somebody else.
func (w *world) as(name string, role ledger.Role) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.who = &Caller{Name: name, Role: role}
}

// allow has the settings allow users the words.
func (w *world) allow(words ...string) {
	w.Helper()
	s := settings.Default()
	s.ImageReplicas, s.Allow = 1, append([]string{}, words...)
	w.configure(s)
}

func TestWhatUsersMayNotSayReachesNoEngine(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.as("bob", ledger.Member)
		h := w.hosts[0]
		padding := `"Labels":{"x":"` + strings.Repeat("x", maxBody-200) + `"}`
		for body, status := range map[string]int{
			`{"Image":"busybox","HostConfig":{"Privileged":true}}`:                                            403,
			`{"image":"busybox","hostconfig":{"privileged":true}}`:                                            403,
			`{"Image":"busybox","HO\u017fTCONFIG":{"PRIVILEGED":true}}`:                                       403,
			`{"Image":"busybox","HostConfig":{"Privileged":false,"privileged":true}}`:                         400,
			`{"Image":"busybox","HostConfig":{},"hostConfig":{"Privileged":true}}`:                            400,
			`{"Image":"busybox","HostConfig":{"Privileged":true}}{"Image":"busybox"}`:                         400,
			`{"Image":"busybox"} , {"HostConfig":{"Privileged":true}}`:                                        400,
			`{` + padding + `,"Image":"busybox","HostConfig":{"Privileged":true}}`:                            403,
			`{"Image":"busybox",` + padding + strings.Repeat(" ", 400) + `,"HostConfig":{"Privileged":true}}`: 400,
			`{"Image":"busybox","HostConfig":[{"Privileged":true}]}`:                                          400,
			`{"Image":"busybox","HostConfig":"{\"Privileged\":true}"}`:                                        400,
			"\xef\xbb\xbf" + `{"Image":"busybox","HostConfig":{"Privileged":true}}`:                           400,
		} {
			h.want(status, "", post, "/containers/create?name=evil", body)
			for kind, chunked := range map[string]bool{"application/json; charset=utf-16": false, "text/json": false, "application/x-www-form-urlencoded": true, "": true, "Application/JSON": true} {
				if got := h.odd(kind, chunked, "/containers/create?name=evil", body); got.status/100 != 4 {
					t.Errorf("%q, chunked: %v: %.200s: got %d %s", kind, chunked, body, got.status, got.body)
				}
			}
		}
		wantList(t, "containers", append(w.hosts[0].has(), w.hosts[1].has()...))
		// What nobody knows is nobody's to give on.
		h.want(201, "", post, "/containers/create?name=plain", `{"Image":"busybox","Future":{"Privileged":true},"HostConfig":{"Future":true}}`)
		// In pieces, it is read as a whole.
		if got := h.odd("application/json", true, "/containers/create?name=pieces", busybox); got.status != 201 {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
}

// odd posts a body of that kind, of which the length may not be told.
func (h *agent) odd(kind string, chunked bool, path, body string) said {
	h.w.Helper()
	var from io.Reader = strings.NewReader(body)
	if chunked {
		from = io.MultiReader(from)
	}
	req := httptest.NewRequestWithContext(h.w.Context(), post, "http://ddocker"+path, from)
	req.RequestURI = ""
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := h.client.RoundTrip(req)
	if err != nil {
		h.w.Fatalf("%s: %v", path, err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	text.ReadFrom(resp.Body)
	return said{resp.StatusCode, resp.Header, text.String()}
}

func TestUsersJoinOnlyTheirOwnContainers(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("hers", on("n2"))
		w.as("bob", ledger.Member)
		id := h.create("his", on("n2"))
		for field, words := range map[string]string{
			`"NetworkMode":"container:%s"`: "", `"IpcMode":"container:%s"`: "", `"PidMode":"container:%s"`: "", `"VolumesFrom":["%s:ro"]`: "", `"Links":["%s"]`: "",
		} {
			h.want(403, words, post, "/containers/create?name=x", fmt.Sprintf(`{"Image":"busybox","HostConfig":{`+field+`}}`, "hers"))
			h.want(404, "No such container: nobody", post, "/containers/create?name=x", fmt.Sprintf(`{"Image":"busybox","HostConfig":{`+field+`}}`, "nobody"))
		}
		h.want(403, "", post, "/containers/create?name=x", `{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"bridge":{"Links":["hers:db"]}}}}`)
		h.create("both", `{"Image":"busybox","HostConfig":{"NetworkMode":"container:his","IpcMode":"container:`+id[:12]+`","VolumesFrom":["his:ro"]}}`)
		h.create("linked", `{"Image":"busybox","HostConfig":{"Links":["his","his:db"]}}`)
		got := read[struct {
			HostConfig struct {
				NetworkMode, IpcMode string
				VolumesFrom          []string
			}
		}](w, h.want(200, "", get, "/containers/both/json", "")).HostConfig
		if got.NetworkMode != "container:"+id || got.IpcMode != "container:"+id || got.VolumesFrom[0] != id+":ro" {
			t.Errorf("others may come to be meant: %+v", got)
		}
		links := read[struct{ HostConfig struct{ Links []string } }](w, h.want(200, "", get, "/containers/linked/json", "")).HostConfig.Links
		wantList(t, "links", links, id+":his", id+":db")
	})
}

func TestANetworkThatIsNowhereIsNotWaitedFor(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.as("bob", ledger.Member)
		w.hosts[0].want(400, "network hers not found", post, "/containers/create?name=x", `{"Image":"busybox","HostConfig":{"NetworkMode":"hers"}}`)
		w.hosts[0].want(400, "network hers not found", post, "/containers/create?name=x", `{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"hers":{}}}}`)
	})
}

func TestOtherRequestsAreAdmittedByTheList(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.as("bob", ledger.Member)
		h := w.hosts[0]
		h.create("web", busybox)
		h.want(204, "", post, "/containers/web/start", "")
		for _, c := range []struct{ path, body, words string }{
			{"/containers/web/exec", `{"Cmd":["true"],"Privileged":true}`, "Privileged is not for users"},
			{"/containers/web/exec", `{"cmd":["true"],"pRIVILEGED":true}`, "Privileged"},
			{"/containers/web/update", `{"MemorySwap":-1}`, "MemorySwap"},
			{"/containers/web/update", `{"CpuShares":262144}`, "CpuShares"},
			{"/containers/web/update", `{"CgroupParent":"/"}`, "CgroupParent"},
			{"/containers/web/update", `{"Devices":[{"PathOnHost":"/dev/sda"}]}`, "Devices.PathOnHost /dev/sda"},
			{"/volumes/create", `{"Name":"v","DriverOpts":{"type":"none","o":"bind","device":"/"}}`, "DriverOpts"},
			{"/volumes/create", `{"Name":"v","driveropts":{"device":"/"}}`, "DriverOpts"},
			{"/volumes/create", `{"Name":"v","Driver":"sshfs"}`, "Driver sshfs"},
			{"/networks/create", `{"Name":"n","Driver":"macvlan","Options":{"parent":"eth0"}}`, "Driver macvlan"},
			{"/networks/create", `{"Name":"n","Options":{"com.docker.network.bridge.name":"docker0"}}`, "Options com.docker.network.bridge.name"},
			{"/networks/create", `{"Name":"n","IPAM":{"Config":[{"Subnet":"8.8.8.0/24"}]}}`, "IPAM.Config"},
			{"/networks/create", `{"Name":"n","ConfigOnly":true}`, "ConfigOnly"},
			{"/networks/host/connect", `{"Container":"web"}`, "network host is not for users"},
			{"/networks/bridge/connect", `{"Container":"web","EndpointConfig":{"NetworkID":"abc"}}`, "EndpointConfig.NetworkID"},
			{"/networks/bridge/connect", `{"Container":"web","EndpointConfig":{"DriverOpts":{"a":"b"}}}`, "EndpointConfig.DriverOpts"},
			{"/build?networkmode=host", "", "NetworkMode host"},
			{"/build?networkmode=container:web", "", "networkmode container:web"},
			{"/build?cgroupparent=/x", "", "CgroupParent"},
			{"/build?securityopt=seccomp%3Dunconfined", "", "SecurityOpt seccomp=unconfined"},
			{`/build?ulimits=[{"name":"rtprio","soft":99,"hard":99}]`, "", "Ulimits.Name rtprio"},
			{"/build?memory=1&memswap=-1", "", "MemorySwap"},
			{"/build?entitlements=network.host", "", "entitlements network.host"},
		} {
			h.want(403, c.words, post, c.path, c.body)
		}
		h.want(400, "the same to Docker", post, `/build?ulimits=[{"Name":"nofile","name":"rtprio"}]`, "")
		h.want(400, "given twice", post, `/build?networkmode=bridge&networkmode=host`, "")
		h.want(400, "network hers not found", post, "/containers/create?name=y", `{"Image":"busybox","HostConfig":{"NetworkMode":"hers"}}`)
		w.as("alice", ledger.Admin)
		h.want(201, "", post, "/containers/web/exec", `{"Cmd":["true"],"Privileged":true}`)
		h.want(201, "", post, "/volumes/create", `{"Name":"v","DriverOpts":{"type":"none","o":"bind","device":"/"}}`)
	})
}

func TestAnAllowanceIsForUsers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		w.as("bob", ledger.Member)
		h.want(403, `with \"cap-add=SYS_PTRACE\" in \"allow\" of the settings`, post, "/containers/create?name=debug", `{"Image":"busybox","HostConfig":{"CapAdd":["SYS_PTRACE"]}}`)
		w.allow("cap-add=SYS_PTRACE", "privileged")
		h.create("debug", `{"Image":"busybox","HostConfig":{"CapAdd":["SYS_PTRACE"]}}`)
		h.want(204, "", post, "/containers/debug/start", "")
		h.want(201, "", post, "/containers/debug/exec", `{"Cmd":["true"],"Privileged":true}`)
		h.want(403, `build is not for users: an admin can allow it with \"build\"`, post, "/build", "")
		h.want(403, "build is not for users", post, "/session", "")
		h.want(403, "build is not for users", post, "/grpc", "")
	})
}

// Engines before 25 take a HostConfig there from old clients, which nobody looked at when
// the container was created.
func TestAContainerIsStartedAsItWasCreated(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("web", busybox) // not even admins: the ledger would not know
		for _, path := range []string{"/v1.23/containers/web/start", "/containers/web/start", "/containers/web/restart"} {
			h.want(400, "starting container with non-empty request body", post, path, `{"Privileged":true}`)
			h.want(400, "starting container with non-empty request body", post, path, `[]`)
			if got := h.odd("", true, path, `{"PidMode":"host"}`); got.status != 400 {
				t.Errorf("%s: got %d %s", path, got.status, got.body)
			}
		}
		h.want(204, "", post, "/v1.23/containers/web/start", " {} ")
		h.want(404, "page not found", post, "/containers/web/restart", "null") // of the twin, which knows no restart
		w.as("bob", ledger.Member)
		h.create("his", busybox)
		h.want(403, "checkpoint-dir", post, "/containers/his/start?checkpoint=a&checkpoint-dir=/tmp", "")
		h.want(204, "", post, "/containers/his/start", "null")
	})
}
