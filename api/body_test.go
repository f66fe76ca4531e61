package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

func TestBodyIsWrittenAnewAsDockerDocumentsIt(t *testing.T) {
	for body, want := range map[string]string{
		`{"Image":"i","Future":1}`: `{"Image":"i"}`,
		`{"image":"i","hostconfig":{"portbindings":{"80/tcp":[{"hostport":"1"}]},"MEMORY":1,"future":2,"nanocpus":3}}`: `{"HostConfig":{"Memory":1,"NanoCpus":3,"PortBindings":{"80/tcp":[{"HostPort":"1"}]}},"Image":"i"}`,
		`{"HostConfig":null}`:                   `{"HostConfig":null}`,
		`{"cpuset":"0","memory":7}`:             `{"Cpuset":"0","Memory":7}`, // to be refused
		`{"ho\u017ftconfig":{"binds":["a:b"]}}`: `{"HostConfig":{"Binds":["a:b"]}}`,
		`{"networkingconfig":{"endpointsconfig":{"a":{"aliases":["b"],"future":1}}}}`:                     `{"NetworkingConfig":{"EndpointsConfig":{"a":{"Aliases":["b"]}}}}`,
		`{"HostConfig":{"Mounts":[{"type":"bind","SOURCE":"/","bindoptions":{"propagation":"shared"}}]}}`: `{"HostConfig":{"Mounts":[{"BindOptions":{"Propagation":"shared"},"Source":"/","Type":"bind"}]}}`,
		`{"Labels":{"a":"1","A":"2"},"Cmd":"sleep 1","Entrypoint":["a","b"]}`:                             `{"Cmd":"sleep 1","Entrypoint":["a","b"],"Labels":{"A":"2","a":"1"}}`,
		`{"HostConfig":{"Umask":18,"KernelMemory":5,"Annotations":{"x":"y"}},"MacAddress":"m"}`:           `{"HostConfig":{"Annotations":{"x":"y"},"KernelMemory":5,"Umask":18},"MacAddress":"m"}`, // of the newest API, and of old ones
		`{"HostConfig":{"Memory":9007199254740993}}`:                                                      `{"HostConfig":{"Memory":9007199254740993}}`,
		`{"Env":7,"HostConfig":{"Binds":"no list"}}`:                                                      `{"Env":7,"HostConfig":{"Binds":"no list"}}`, // for the engine to refuse
		`{"Image":"i","HostConfig":{"ExtraHosts":["a<b&c"]}}`:                                             `{"HostConfig":{"ExtraHosts":["a\u003cb\u0026c"]},"Image":"i"}`,
	} {
		fields, err := createShape().read([]byte(body))
		if err != nil || string(raw(fields)) != want {
			t.Errorf("%s: got %s, %v\nwant %s", body, raw(fields), err, want)
		}
	}
}

func TestBodyThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	for body, want := range map[string]string{
		`{"Image":"a","image":"b"}`:                                        `the keys "Image" and "image" are the same to Docker: give one`,
		`{"Image":"a","Image":"b"}`:                                        "the same to Docker",
		`{"HostConfig":{},"HOSTCONFIG":{}}`:                                "the same to Docker",
		`{"HostConfig":{"Binds":[],"binds":["/:/host"]}}`:                  `in HostConfig: the keys "Binds" and "binds"`,
		`{"HostConfig":{"bind\u017f":[],"binds":["/:/h"]}}`:                "in HostConfig",
		`{"HostConfig":{"future":1,"FUTURE":2}}`:                           "in HostConfig",
		`{"HostConfig":{"Mounts":[{"Type":"volume","type":"bind"}]}}`:      "in HostConfig: in Mounts",
		`{"Labels":{"a":"1","a":"2"}}`:                                     "in Labels",
		`{"NetworkingConfig":{"EndpointsConfig":{},"endpointsConfig":{}}}`: "in NetworkingConfig",
		`{"Image":"a"} {"Image":"b"}`:                                      "no JSON object",
		`{"Image":"a"}]`:                                                   "no JSON object",
		`[]`:                                                               "no JSON object",
		`"x"`:                                                              "no JSON object",
		`{"Image":"a",}`:                                                   "no JSON object",
	} {
		if fields, err := createShape().read([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %s, %v", body, raw(fields), err)
		}
	}
}

func TestBodyOfAnotherKindIsRefused(t *testing.T) {
	ask := func(kind, body string) error {
		r := httptest.NewRequest(post, "/containers/create", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		_, err := receive(httptest.NewRecorder(), r, createShape())
		return err
	}
	for kind, ok := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "APPLICATION/JSON": true,
		"": false, "text/plain": false, "application/x-www-form-urlencoded": false, "application/json;;": false, "application/jsonx": false,
	} {
		if err := ask(kind, `{}`); ok != (err == nil) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if err := ask("", " \n"); err != nil {
		t.Errorf("no body: %v", err)
	}
	if err := ask("application/json", `{"Image":"`+strings.Repeat("x", maxBody)+`"}`); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a huge one: %v", err)
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind"}],"PortBindings":{"80/tcp":[{"HostPort":"1"}]}}}`, `{"a":1,"A":2}`, `{"HostConfig":[{}]}`, `{"Labels":{"a":null}}`, "[1]", "null",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := createShape().read(body)
		if err != nil {
			return
		}
		again, err := createShape().read(raw(fields))
		if err != nil || string(raw(again)) != string(raw(fields)) {
			t.Errorf("%s is read as %s, which is read as %s, %v", body, raw(fields), raw(again), err)
		}
	})
}

// What engines make of a form would count for more than the query.
func TestAFormSaysNothing(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		req := httptest.NewRequestWithContext(w.Context(), post, "http://ddocker/containers/web/rename?name=shop", strings.NewReader("name=other"))
		req.RequestURI = ""
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := w.hosts[0].client.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusNoContent {
			t.Fatalf("got %v, %v", resp, err)
		}
		resp.Body.Close()
		wantList(t, "containers", w.hosts[1].has(), "shop")
	})
}

func TestEveryBodyThatChangesSomethingIsStrict(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		w.hosts[0].want(http.StatusNoContent, "", post, "/containers/web/start", "")
		exec := read[container.ExecCreateResponse](w, w.hosts[0].want(201, "", post, "/containers/web/exec", `{"cmd":["true"]}`))
		for _, path := range []string{"/containers/create?name=x", "/containers/web/exec", "/exec/" + exec.ID + "/start", "/containers/web/update", "/commit?container=web"} {
			w.hosts[0].want(400, "the same to Docker", post, path, `{"Cmd":["a"],"cmd":["b"]}`)
			w.hosts[0].want(400, "no JSON object", post, path, `{} {}`)
			w.hosts[0].want(400, "too large", post, path, `{"Cmd":["`+strings.Repeat("x", maxBody)+`"]}`)
		}
	})
}
