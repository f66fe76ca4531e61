package api

import (
	"strings"
	"testing"
)

func TestEveryRowIsFoundByItsExample(t *testing.T) {
	table := routes()
	for i := range table {
		for _, ref := range []string{"web", "n1/web", "registry.example:5000/team/app:1.2@sha256:abc"} {
			example := strings.Replace(table[i].path, "{}", ref, 1)
			for _, version := range []string{"", "/v1.41"} {
				v, p := splitVersion(version + example)
				row, got, ok := find(table, table[i].method, p)
				if !ok || row != &table[i] || strings.Contains(row.path, "{}") && got != ref || "/v"+v != version && v+version != "" {
					t.Errorf("%s %s%s: row %v, ref %q", table[i].method, version, example, row, got)
				}
			}
		}
	}
}

func TestWhatIsInNoRowIsNotFound(t *testing.T) {
	table := routes()
	for _, request := range []string{
		"GET /", "GET ", "POST /_ping", "GET /containers", "GET /containers/", "GET /containers//json", "GET /containers/json/",
		"GET //containers/json", "GET /containers/../images/json", "GET /containers/web/../../secrets/x/json", "GET /containers/./json",
		"GET /containers/web//json", "GET /containers/.web/json", "GET /containers/a/.b/json", "GET /containers/a b/json",
		"GET /containers/a%2fb/json", "GET /containers/a?b/json", "GET /containers/a#b/json", "GET /containers/a\n/json", "GET /containers/ä/json",
		"POST /plugins/pull", "GET /images//json",
		"GET /v1.41/containers/json", "DELETE /containers/", "DELETE /images/", "GET /ddocker/local/nvidia-smi", "GET /ddocker/local/events", "POST /ddocker/local/bring", "GET /ddocker/local/audit", "POST /ddocker/local/settle", "POST /ddocker/images/../replicate", "GET /rpc/image/x",
		"get /_ping",
	} {
		method, p, _ := strings.Cut(request, " ")
		if row, ref, ok := find(table, method, p); ok {
			t.Errorf("%q: row %s %s, ref %q", request, row.method, row.path, ref)
		}
	}
}

func TestVersionIsTakenOffThePath(t *testing.T) {
	for path, want := range map[string][2]string{
		"/v1.41/info":        {"1.41", "/info"},
		"/v1.5/_ping":        {"1.5", "/_ping"},
		"/info":              {"", "/info"},
		"/v1.41":             {"", "/v1.41"},
		"/v1.41/":            {"1.41", "/"},
		"/v1/info":           {"", "/v1/info"},
		"/v1.41x/info":       {"", "/v1.41x/info"},
		"/v1.1234/info":      {"", "/v1.1234/info"},
		"/v1.41/v1.40/info":  {"1.41", "/v1.40/info"},
		"/v1.41//info":       {"1.41", "//info"},
		"/v-1.41/info":       {"", "/v-1.41/info"},
		"/v1.41/info\n/info": {"", "/v1.41/info\n/info"},
	} {
		if version, rest := splitVersion(path); version != want[0] || rest != want[1] {
			t.Errorf("%q: %q %q", path, version, rest)
		}
	}
}
