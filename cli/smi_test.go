package cli

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// fourCards are those of a granted one, a busy one, an idle one, and one of a host that
// does not answer.
func fourCards() string {
	since := time.Now().Add(-3 * time.Hour).Format(time.RFC3339Nano)
	return `[
	 {"Host":"h1","Index":"0","UUID":"GPU-1","Model":"TITAN Xp","Memory":12884901888,"Used":3221225472,"Utilization":87,"Temperature":65,"Power":181000,"NUMA":null,"State":"held",
	  "Container":{"ID":"0123","Name":"web","Owner":"alice"},"Idle":null,"Processes":[{"PID":7,"User":"root","Command":"python","Memory":2147483648,"Container":"0123","Name":"web","Owner":"alice"}]},
	 {"Host":"h1","Index":"1","UUID":"GPU-2","Model":"TITAN Xp","Memory":12884901888,"Used":1073741824,"Utilization":12,"Temperature":null,"Power":null,"NUMA":0,"State":"busy","Reason":"used by python",
	  "Container":null,"Idle":null,"Processes":[{"PID":312,"User":"bob","Command":"python","Memory":1073741824},{"PID":9,"User":"root","Command":"x","Memory":null,"Container":"4567","Name":"db","Owner":"bob"}]},
	 {"Host":"h2","Index":"0:1","UUID":"MIG-3","Model":"NVIDIA A100-SXM4-80GB MIG 3g.40gb","Profile":"3g.40gb","Memory":42949672960,"Used":0,"Utilization":null,"Temperature":31,"Power":90500,"State":"free","Container":null,"Idle":"` + since + `","Processes":[]},
	 {"Host":"h3","Index":"0","UUID":"GPU-4","Model":"H100","Memory":85899345920,"Used":null,"Utilization":null,"State":"unknown","Reason":"host h3 does not answer","Container":{"ID":"89ab","Name":"far","Owner":"carol"},"Idle":null,"Processes":[]}]`
}

func TestNvidiaSMIShowsOneCardOfTheClusterALine(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/gpus", http.StatusOK, fourCards())
	g.runs(t, "", "nvidia-smi").wants(t, 0, ""+
		"HOST   GPU   MODEL                               UTIL   MEMORY             TEMP   CONTAINER                       OWNER   IDLE      REASON\n"+
		"h1     0     TITAN Xp                            87%    3072 / 12288 MiB   65C    web                             alice   -         \n"+
		"h1     1     TITAN Xp                            12%    1024 / 12288 MiB   -      pid 312 python (1024 MiB), db   bob     -         used by python\n"+
		"h2     0:1   NVIDIA A100-SXM4-80GB MIG 3g.40gb   -      0 / 40960 MiB      31C    -                               -       3 hours   \n"+
		"h3     0     H100                                -      - / 81920 MiB      -      far                             carol   -         host h3 does not answer\n")
	g.runs(t, "", "nvidia-smi", "--format", "{{.UUID}} {{.State}} {{.Power}} {{.NUMA}}").wants(t, 0,
		"GPU-1 held 181W -\nGPU-2 busy - 0\nMIG-3 free 90W -\nGPU-4 unknown - -\n")
	g.runs(t, "", "nvidia-smi", "--format", "json", "h2").wants(t, 0, `{"Bus":"-","CUDA":"-","Container":"-","Driver":"-","GPU":"0:1","Host":"h2","Idle":"3 hours",`+
		`"Memory":"0 / 40960 MiB","Model":"NVIDIA A100-SXM4-80GB MIG 3g.40gb","NUMA":"-","Owner":"-","Power":"90W","Processes":[],"Profile":"3g.40gb","Reason":"","State":"free","Temp":"31C","UUID":"MIG-3","Util":"-"}`+"\n")
	g.runs(t, "", "nvidia-smi", "--format", "table {{.Host}}", "h1").wants(t, 0, "HOST\nh1\nh1\n")
}

func TestNvidiaSMIOfAClusterWithoutGPUsSaysSo(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/gpus", http.StatusOK, `[]`)
	for _, args := range [][]string{{"nvidia-smi"}, {"nvidia-smi", "--format", "json"}, {"nvidia-smi", "--", "-q"}} {
		g.runs(t, "", args...).wants(t, 0, "", "no host has a GPU")
	}
}

func TestNvidiaSMIRefusesWhatMakesNoSense(t *testing.T) {
	g := newAgent(t)
	g.runs(t, "", "nvidia-smi", "-l", "-1").wants(t, 1, "", "Error: invalid --loop -1")
	g.runs(t, "", "nvidia-smi", "-l", "soon").wants(t, 125, "", `invalid argument "soon" for "-l, --loop" flag`)
	g.runs(t, "", "nvidia-smi", "--format", "json", "h1", "--", "-q").wants(t, 1, "", "Error: --format is for the cluster's own table")
	g.runs(t, "", "nvidia-smi", "--format", "{{").wants(t, 64, "", "Error: understand --format")
	g.runs(t, "", "nvidia-smi", "--format", "{{.Nope}}").wants(t, 1, "", "Error: apply --format")
	if len(g.asked) > 0 {
		t.Errorf("it asked %q", g.asked)
	}
}

func TestNvidiaSMIPrintsEveryHostsTable(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("GET /ddocker/nvidia-smi", func(w http.ResponseWriter, r *http.Request) {
		if host := r.URL.Query().Get("host"); host == "h2" {
			http.Error(w, "no host h2 in the cluster", http.StatusNotFound)
		} else {
			w.Write([]byte("| table of " + host + " |\n"))
		}
	})
	g.runs(t, "", "nvidia-smi", "h1").wants(t, 0, "| table of h1 |\n")
	g.runs(t, "", "nvidia-smi", "h1", "h2", "h3").wants(t, 1, "h1:\n| table of h1 |\nh3:\n| table of h3 |\n",
		"Error: no host h2 in the cluster\n")
	g.answers("GET /ddocker/gpus", http.StatusOK, fourCards())
	if g.runs(t, "", "nvidia-smi", "h1", "--", "-q", "-d", "MEMORY"); !g.was("GET /ddocker/nvidia-smi?arg=-q&arg=-d&arg=MEMORY&host=h1") {
		t.Errorf("it asked %q", g.asked)
	}
	g.runs(t, "", "nvidia-smi", "--", "-L").wants(t, 1, "h1:\n| table of h1 |\nh3:\n| table of h3 |\n", "Error: no host h2 in the cluster\n")
	if !g.was("GET /ddocker/nvidia-smi?arg=-L&host=h3") {
		t.Errorf("it asked %q", g.asked)
	}
}

func TestNvidiaSMIIsShownAgainUntilItCannotBe(t *testing.T) {
	g := newAgent(t)
	asked := 0
	g.HandleFunc("GET /ddocker/gpus", func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 2 {
			http.Error(w, "enough", http.StatusTeapot)
			return
		}
		w.Write([]byte(fourCards()))
	})
	r := g.runs(t, "", "nvidia-smi", "-l", "1", "--format", "{{.UUID}}", "h1")
	r.wants(t, 1, strings.Repeat("GPU-1\nGPU-2\n", 2), "Error: enough\n")
}
