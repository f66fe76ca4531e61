package cli

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const threeContainers = `[
 {"Id":"0123456789abcdef0123456789abcdef","Names":["/abc"],"Image":"python3_cuda:latest","Created":1590766539,
  "State":"running","Status":"Up 2 hours","Labels":{"ddocker.node":"jsik-serv","team":"vision"},"Command":"/bin/bash",
  "Ddocker":{"Node":"jsik-serv","Type":"12 cpus,64g mem","Ports":["0.0.0.0:25000->25000/tcp"],"Owner":"alice"}},
 {"Id":"1123456789abcdef0123456789abcdef","Names":["/other/link","/def"],"Image":"ubuntu:latest","Created":1590766539,
  "State":"exited","Labels":{"ddocker.node":"h2"},"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]},
 {"Id":"2123456789abcdef0123456789abcdef","Names":["/ghi"],"Image":"ubuntu:latest","Created":1590766539,
  "State":"running","Ddocker":{"Node":"h3","Type":"12 cpus,64g mem","Unreachable":true}}]`

func TestPsDrawsTheSeedsTable(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /containers/json", http.StatusOK, threeContainers)
	g.runs(t, "", "ps", "-a").wants(t, 0, ""+
		"NAME   PORT                       IMAGE                 CREATED             HOST        TYPE              RUNNING\n"+
		"abc    0.0.0.0:25000->25000/tcp   python3_cuda:latest   20-05-29T15:35:39   jsik-serv   12 cpus,64g mem   True\n"+
		"def    0.0.0.0:8080->80/tcp       ubuntu:latest         20-05-29T15:35:39   h2                            False\n"+
		"ghi                               ubuntu:latest         20-05-29T15:35:39   h3          12 cpus,64g mem   unreachable\n")
}

func TestPsOfAClusterWithGPUsSaysWhoHasThem(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("GET /containers/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Ddocker-Gpus", "3")
		w.Write([]byte(`[{"Id":"01","Names":["/abc"],"Image":"i","Created":1590766539,"State":"running",
		  "Ddocker":{"Node":"h1","Type":"2 TITAN Xp","Owner":"alice","GPUs":[{"UUID":"GPU-1","Index":"0","Utilization":87},{"UUID":"GPU-2","Index":"1","Utilization":0}]}},
		 {"Id":"02","Names":["/def"],"Image":"i","Created":1590766539,"State":"running","Ddocker":{"Node":"h2","Type":"1 gpus","Owner":"bob","GPUs":[{"UUID":"GPU-3","Index":"0:1"}]}},
		 {"Id":"03","Names":["/ghi"],"Image":"i","Created":1590766539,"State":"exited","Ddocker":{"Node":"h2","Type":"-"}}]`))
	})
	g.runs(t, "", "ps").wants(t, 0, ""+
		"NAME   PORT   IMAGE   CREATED             HOST   TYPE         RUNNING   USER    GPU   UTIL\n"+
		"abc           i       20-05-29T15:35:39   h1     2 TITAN Xp   True      alice   0,1   87%,0%\n"+
		"def           i       20-05-29T15:35:39   h2     1 gpus       True      bob     0:1   -\n"+
		"ghi           i       20-05-29T15:35:39   h2     -            False     -       -     -\n")
	g.runs(t, "", "ps", "--format", "{{.User}} {{.GPU}} {{.GPUs}} {{.Util}}").wants(t, 0, "alice 0,1 GPU-1,GPU-2 87%,0%\nbob 0:1 GPU-3 -\n- - - -\n")
	g.runs(t, "", "ps", "-q").wants(t, 0, "01\n02\n03\n")
}

func TestPsShowsWhatTheFormatAsksFor(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /containers/json", http.StatusOK, threeContainers)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-q"}, "0123456789ab\n1123456789ab\n2123456789ab\n"},
		{[]string{"-q", "--no-trunc"}, "0123456789abcdef0123456789abcdef\n1123456789abcdef0123456789abcdef\n2123456789abcdef0123456789abcdef\n"},
		{[]string{"--format", "{{.Names}} {{.Host}} {{.Running}} {{.Owner}}"}, "abc jsik-serv True alice\ndef h2 False \nghi h3 unreachable \n"},
		{[]string{"--format", `table {{.ID}}\t{{.Label "team"}}`}, "CONTAINER ID   team\n0123456789ab   vision\n1123456789ab   \n2123456789ab   \n"},
		{[]string{"--format", "{{json .Labels}}"}, "\"ddocker.node=jsik-serv,team=vision\"\n\"ddocker.node=h2\"\n\"\"\n"},
	} {
		g.runs(t, "", append([]string{"ps"}, c.args...)...).wants(t, 0, c.want)
	}
	g.runs(t, "", "ps", "--format", "{{.Nope}}").wants(t, 1, "", "Error: apply --format")
	g.runs(t, "", "ps", "--format", "{{").wants(t, 64, "", "Error: understand --format")
}

func TestPsPassesItsSelectionOn(t *testing.T) {
	for _, c := range []struct {
		args []string
		want url.Values
	}{
		{nil, url.Values{}},
		{[]string{"--all"}, url.Values{"all": {"1"}}},
		{[]string{"-n", "3"}, url.Values{"limit": {"3"}}},
		{[]string{"-l"}, url.Values{"limit": {"1"}}},
		{[]string{"--format", "{{.Size}}"}, url.Values{"size": {"1"}}},
		{[]string{"-f", "name=a", "-f", "Label=x=y"}, url.Values{"filters": {`{"label":{"x=y":true},"name":{"a":true}}`}}},
	} {
		g := newAgent(t)
		g.answers("GET /containers/json", http.StatusOK, "[]")
		if r := g.runs(t, "", append([]string{"ps"}, c.args...)...); r.code != 0 {
			t.Errorf("ps %q: %s", c.args, r.stderr)
		}
		want := "GET /containers/json"
		if len(c.want) > 0 {
			want += "?" + c.want.Encode()
		}
		if !g.was(want) {
			t.Errorf("ps %q asked %q, want %s", c.args, g.asked, want)
		}
	}
	newAgent(t).runs(t, "", "ps", "-f", "name").wants(t, 125, "", `Error: invalid filter "name"`)
}

func TestImagesHasOneRowForEveryName(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/json", http.StatusOK, `[
	 {"Id":"sha256:0123456789abcdef","RepoTags":["ubuntu:latest","reg:5000/ubuntu:20.04"],"Created":1,"Size":72900000,"Ddocker":{"Hosts":["h1","h2"],"Owners":{"ubuntu:latest":"alice"},"Replicas":2}},
	 {"Id":"sha256:1123456789abcdef","RepoTags":[],"Created":1,"Size":5,"Ddocker":{"Hosts":["h3"]}}]`)
	g.runs(t, "", "images", "--format", `table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}\t{{.Hosts}}`).wants(t, 0, ""+
		"REPOSITORY        TAG       IMAGE ID       SIZE      HOSTS\n"+
		"ubuntu            latest    0123456789ab   72.9MB    h1, h2\n"+
		"reg:5000/ubuntu   20.04     0123456789ab   72.9MB    h1, h2\n"+
		"<none>            <none>    1123456789ab   5B        h3\n")
	g.runs(t, "", "images", "-q", "--no-trunc").wants(t, 0,
		"sha256:0123456789abcdef\nsha256:0123456789abcdef\nsha256:1123456789abcdef\n")
	if r := g.runs(t, "", "images", "-a", "ubuntu"); r.code != 0 || !g.was("GET /images/json?"+
		url.Values{"all": {"1"}, "filters": {`{"reference":{"ubuntu":true}}`}}.Encode()) {
		t.Errorf("images -a ubuntu asked %q: %s", g.asked, r.stderr)
	}
}

func TestPsSaysWhoseContainersAreWhereTheyAreSeveralUsers(t *testing.T) {
	const alices = `{"Id":"01","Names":["/abc"],"Image":"i","Created":1590766539,"State":"running","Ddocker":{"Node":"h1","Type":"-","Owner":"alice"}}`
	const bobs = `{"Id":"02","Names":["/def"],"Image":"i","Created":1590766539,"State":"running","Ddocker":{"Node":"h2","Type":"-","Owner":"bob"}}`
	const outsider = `{"Id":"03","Names":["/ghi"],"Image":"i","Created":1590766539,"State":"exited","Ddocker":{"Node":"h2","Type":"-"}}`
	for list, header := range map[string]string{
		alices + "," + outsider:              "NAME   PORT   IMAGE   CREATED             HOST   TYPE   RUNNING\n",
		alices + "," + bobs + "," + outsider: "NAME   PORT   IMAGE   CREATED             HOST   TYPE   RUNNING   USER\n",
	} {
		g := newAgent(t)
		g.answers("GET /containers/json", http.StatusOK, "["+list+"]")
		if got := g.runs(t, "", "ps").stdout; !strings.HasPrefix(got, header) {
			t.Errorf("got\n%s\nwant\n%s", got, header)
		}
	}
}
