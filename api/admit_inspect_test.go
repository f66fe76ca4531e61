package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"ddocker/engine"
	"ddocker/settings"
)

// What a real engine says of a container is what was approved of it, in all fields that
// were said, however they were written.
func TestAnEngineHasWhatWasApproved(t *testing.T) {
	host := os.Getenv("DDOCKER_TEST_ENGINE")
	switch {
	case host == "" && os.Getenv("CI") != "":
		t.Fatal("DDOCKER_TEST_ENGINE is not set: nothing was compared")
	case host == "":
		t.Skip("DDOCKER_TEST_ENGINE is not set: NOTHING WAS COMPARED")
	}
	e, err := engine.New(engine.Config{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	g := &gate{user: "bob", s: settings.Settings{BindRoots: []string{"/home/{user}"}}}
	for _, body := range []string{
		`{"Image":"busybox","future":{"Privileged":true},"hostconfig":{"future":1,"MEMORY":67108864,"memoryswap":134217728,"capdrop":["ALL"],"CapAdd":["CHOWN"]}}`,
		`{"image":"busybox","ENV":["A=1"],"cmd":["true"],"User":"5","labels":{"a":"b"},"HostConfig":{"binds":["/home/bob:/x:ro"],"securityopt":["no-new-privileges:true"],"Ulimits":[{"name":"nofile","SOFT":9,"hard":9}]}}`,
		`{"Image":"busybox","HostConfig":{"ipcmode":"private","NetworkMode":"none","readonlyrootfs":true,"tmpfs":{"/t":"size=1m"},"logconfig":{"type":"json-file","config":{"max-size":"1m"}},"restartpolicy":{"name":"on-failure","maximumretrycount":3}}}`,
		`{"Image":"busybox","HostConfig":{"NanoCpus":500000000,"PidsLimit":99,"ShmSize":67108864,"Init":true,"dns":["1.1.1.1"],"extrahosts":["a:1.2.3.4"],"groupadd":["7"],"Mounts":[{"type":"tmpfs","TARGET":"/y"}]}}`,
	} {
		fields, err := createShape().read([]byte(body))
		if err == nil {
			err = g.admitFields(createRules(), "", raw(fields))
		}
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		status, reply, err := e.Create(t.Context(), "", "", raw(fields))
		if err != nil || status != http.StatusCreated {
			t.Fatalf("%s: %d %s %v", body, status, reply, err)
		}
		var made struct{ ID string }
		json.Unmarshal(reply, &made)
		has := inspected(t, e, made.ID)
		said := fields["HostConfig"]
		delete(fields, "HostConfig")
		wantSaid(t, "Config", raw(fields), has["Config"])
		wantSaid(t, "HostConfig", said, has["HostConfig"])
		var is oldBody
		json.Unmarshal(raw(map[string]json.RawMessage{"HostConfig": has["HostConfig"]}), &is)
		// What none of the bodies says, the engine fills in as its administrator has it.
		is.HostConfig.MaskedPaths, is.HostConfig.ReadonlyPaths, is.HostConfig.CgroupnsMode = nil, nil, ""
		if why := is.danger(); why != "" {
			t.Errorf("%s: the engine has %s", body, why)
		}
	}
}

func inspected(t *testing.T, e *engine.Engine, id string) (has map[string]json.RawMessage) {
	t.Helper()
	defer func() {
		if err := e.Remove(t.Context(), id, true, true); err != nil {
			t.Error(err)
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), get, "http://ddocker/containers/"+id+"/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: e.RoundTripper(), Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&has); err != nil {
		t.Fatal(err)
	}
	return has
}

// wantSaid fails the test unless all that was said is there.
func wantSaid(t *testing.T, where string, said, has json.RawMessage) {
	t.Helper()
	var wants, have map[string]json.RawMessage
	if json.Unmarshal(said, &wants) != nil || json.Unmarshal(has, &have) != nil {
		t.Fatalf("%s: %s and %s", where, said, has)
	}
	for key, want := range wants {
		if bytes.HasPrefix(want, []byte("{")) && key != "Labels" {
			wantSaid(t, where+"."+key, want, have[key])
			continue
		}
		var a, b any
		json.Unmarshal(want, &a)
		json.Unmarshal(have[key], &b)
		if key == "Env" && strings.Contains(string(have[key]), strings.Trim(string(want), "[]")) {
			continue // the image's stand there, too
		}
		if key == "CapAdd" && strings.ReplaceAll(string(have[key]), "CAP_", "") == string(want) {
			continue // some engines write them whole
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s.%s is %s, and %s was approved", where, key, have[key], want)
		}
	}
}
