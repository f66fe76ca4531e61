package cli

import (
	"net/http"
	"slices"
	"testing"
)

const departureOfGPU2 = `{"Node":"gpu2","Role":"leader","Containers":[{"Name":"web","ID":"1"},{"Name":"db","ID":"2"}],"Networks":["net"],"Volumes":[],"Images":["a:latest"]}`

func TestLeaveListsWhatLeavesBeforeItAsks(t *testing.T) {
	const list = "Containers of gpu2 alone: web, db\nNetworks of gpu2 alone: net\nImages of gpu2 alone: a:latest\n"
	g := newAgent(t)
	g.answers("GET /ddocker/leave", http.StatusOK, departureOfGPU2)
	g.HandleFunc("POST /ddocker/leave", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("force") == "" {
			w.WriteHeader(http.StatusConflict)
			w.Write([]byte(`{"message":"host gpu2 holds web and db"}`))
			return
		}
		w.Write([]byte(departureOfGPU2))
	})
	g.runs(t, "", "leave").wants(t, 1, "", list+"Error: host gpu2 holds web and db\n")
	g.runs(t, "", "leave", "--force").wants(t, 0, "gpu2\n", list)
	g.runs(t, "", "leave", "-f").wants(t, 0, "gpu2\n", list)
	if got := g.runs(t, "", "leave", "gpu2"); got.code == 0 {
		t.Errorf("with a name: %+v", got)
	}
}

func TestNodeRmGoesOnPastAHostThatIsUp(t *testing.T) {
	g := newAgent(t)
	g.answers("DELETE /ddocker/nodes/gpu2", http.StatusOK, departureOfGPU2)
	g.answers("DELETE /ddocker/nodes/gpu1", http.StatusConflict, `{"message":"host gpu1 is up"}`)
	g.answers("DELETE /ddocker/nodes/gpu3", http.StatusOK, `{"Node":"gpu3","Role":"","Containers":[],"Networks":[],"Volumes":[],"Images":[]}`)
	g.runs(t, "", "node", "rm", "gpu1", "gpu2", "gpu3").wants(t, 1, "gpu2\ngpu3\n",
		"Error: host gpu1 is up\nContainers of gpu2 alone: web, db\nNetworks of gpu2 alone: net\nImages of gpu2 alone: a:latest\n")
	g.runs(t, "", "node", "rm", "--force", "gpu3").wants(t, 0, "gpu3\n", "")
	if want := "DELETE /ddocker/nodes/gpu3?force=1"; !slices.Contains(g.changes(), want) {
		t.Errorf("asked were %q, want %s among them", g.changes(), want)
	}
}

func TestInspectSaysWhatBecameOfALostContainer(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /containers/web/json", http.StatusNotFound, `{"message":"No such container: web: it was on host gpu2, which left at 2026-01-02 03:04 UTC"}`)
	g.answers("/", http.StatusNotFound, `{"message":"No such image: web"}`)
	g.runs(t, "", "inspect", "web").wants(t, 1, "[]\n", "Error: No such object: web: it was on host gpu2, which left at 2026-01-02 03:04 UTC\n")
}
