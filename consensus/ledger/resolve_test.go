package ledger

import (
	"testing"

	"ddocker/sched"
)

func TestResolveFindsTheContainerThatAPersonMeans(t *testing.T) {
	l := twoHosts(t)
	must(t, l, place("p1", "web", sched.Request{}))
	must(t, l, Command{Confirm: &Confirm{Placement: "p1", Container: "abc111"}})
	must(t, l, place("p2", "new", sched.Request{}))
	must(t, l, Command{Observe: &Observe{Node: "n2", Containers: []Outsider{
		{ID: "abc222", Name: "db"}, {ID: "def333", Name: "abc111"}, {ID: "fff444", Name: "ab"},
	}}})
	for ref, want := range map[string]string{
		"web":         "abc111",
		"/web":        "abc111",
		"gpu1/web":    "abc111",
		"n1/web":      "abc111",
		"abc2":        "abc222",
		"abc111":      "abc111", // a full ID is meant before a name
		"gpu2/abc111": "def333",
		"ab":          "fff444", // a name is meant before a prefix
		"new":         "",
	} {
		got, refused := l.Resolve(ref)
		if refused != nil || got.Container != want {
			t.Errorf("%s: got %q, %v; want %q", ref, got.Container, refused, want)
		}
	}
	for ref, want := range map[string]string{
		"abc":      "multiple IDs found with provided prefix: abc is one of gpu1/web, gpu2/db",
		"nobody":   "No such container: nobody",
		"":         "No such container: ",
		"gpu2/web": "No such container: web",
		"gpu9/web": "No such node: gpu9",
	} {
		if _, refused := l.Resolve(ref); refused == nil || refused.Message != want {
			t.Errorf("%q: got %v, want %q", ref, refused, want)
		}
	}
}

func TestOnlyANameIsCutFromItsHost(t *testing.T) {
	for ref, want := range map[string][2]string{
		"web:1@gpu1":                   {"web:1", "gpu1"},
		"reg:5000/web@gpu1":            {"reg:5000/web", "gpu1"},
		"web@":                         {"web", ""},
		"web:1":                        {"web:1", ""},
		"web@" + digest("a"):           {"web@" + digest("a"), ""},
		"web@" + digest("a") + "@gpu1": {"web@" + digest("a"), "gpu1"},
	} {
		name, host, ok := CutHost(ref)
		if name != want[0] || host != want[1] || ok != (want[0] != ref) {
			t.Errorf("%q: got %q, %q, %v", ref, name, host, ok)
		}
	}
}
