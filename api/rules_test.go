package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

func TestRulesAreReadAsOldSwarmReadThem(t *testing.T) {
	for _, c := range []struct {
		rule, yes, no string
	}{
		{"constraint:node==gpu1", "gpu1", "gpu10"},
		{"constraint:node==gpu*", "gpu10", "cpu1"},
		{"constraint:node==gpu?", "gpu1", "gpu10"},
		{"constraint:node==/gpu[12]/", "gpu2", "gpu3"},
		{"constraint:node==/(?i)GPU1$/", "gpu1", "gpu12"},
		{"affinity:image==a.b/c+d:1", "a.b/c+d:1", "axb/ccd:1"},
		{"affinity:com.docker.compose.service==web", "web", "web2"},
	} {
		r, err := parseRule(c.rule)
		if err != nil || !r.any(c.yes) || r.any(c.no) || r.not || r.soft {
			t.Errorf("%s is read as %+v, %v", c.rule, r, err)
		}
	}
	for text, want := range map[string][2]bool{
		"constraint:node!=a": {true, false}, "constraint:node==~a": {false, true}, "constraint:node!=~a": {true, true},
	} {
		if r, err := parseRule(text); err != nil || r.not != want[0] || r.soft != want[1] || r.value != "a" {
			t.Errorf("%s is read as %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{
		"constraint:node=gpu1", "constraint:==gpu1", "constraint:node==", "constraint:node==~", "constraint:", "affinity:a b==c", "constraint:node==/[/",
		"constraint:node==" + strings.Repeat("x", maxRule),
	} {
		if r, err := parseRule(text); err == nil {
			t.Errorf("%.40s is read as %+v", text, r)
		}
	}
}

func TestRulesLeaveTheEnvironmentAndBecomeLabels(t *testing.T) {
	body := map[string]json.RawMessage{
		"Env":    json.RawMessage(`["A=1","constraint:node!=n1","affinity:container==db","constraint:node!=n1","constraints=7"]`),
		"Labels": json.RawMessage(`{"x":"y","com.docker.swarm.constraints":"[\"node==n*\"]"}`),
	}
	rules, err := takeRules(body)
	var texts []string
	for _, r := range rules {
		texts = append(texts, r.text)
	}
	wantList(t, "rules", texts, "constraint:node==n*", "constraint:node!=n1", "affinity:container==db")
	want := `{"com.docker.swarm.affinities":"[\"container==db\"]","com.docker.swarm.constraints":"[\"node==n*\",\"node!=n1\"]","x":"y"}`
	if err != nil || string(body["Env"]) != `["A=1","constraints=7"]` || string(body["Labels"]) != want {
		t.Errorf("left are %s and %s, %v", body["Env"], body["Labels"], err)
	}
	again, err := takeRules(body) // as compose makes a container anew from its labels
	if err != nil || len(again) != len(rules) || string(body["Labels"]) != want {
		t.Errorf("read again: %d rules, %s, %v", len(again), body["Labels"], err)
	}
}

// body is a create's with these labels and this environment.
func body(labels map[string]string, env ...string) string {
	return string(raw(container.Config{Image: "busybox", Labels: labels, Env: env}))
}

func TestRulesChooseTheHost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[1].twin.AddImage("rare:1")
		w.hosts[2].create("outside", `{"Image":"busybox","Labels":{"tier":"db","ddocker.node":"n3"}}`)
		w.hosts[1].create("web-1", on("n2"))
		w.settle()
		id := w.placement("web-1").Container
		for i, c := range []struct {
			labels map[string]string
			env    string
			want   string
		}{
			{nil, "constraint:node==n2", "n2"},
			{nil, "constraint:node==id-n2", "n2"},
			{nil, "constraint:node==/[3-9]/", "n3"},
			{map[string]string{"com.docker.swarm.constraints": `["node!=n1","node!=n2"]`}, "A=1", "n3"},
			{map[string]string{"ddocker.node": "*3"}, "A=1", "n3"},
			{map[string]string{"ddocker.node": "/^n1$/"}, "A=1", "n1"},
			{map[string]string{"ddocker.node": "=n2"}, "A=1", "n2"}, // --label ddocker.node==n2
			{map[string]string{"ddocker.node!": "n2", "ddocker.node": "=~n3"}, "A=1", "n3"},
			{map[string]string{"ddocker.node!": "/n[13]/"}, "A=1", "n2"},
			{nil, "affinity:container==web-*", "n2"},
			{nil, "affinity:container==" + id, "n2"},
			{nil, "affinity:container==" + id[:12], "n2"},
			{map[string]string{"com.docker.swarm.affinities": `["container!=web-*","tier!=d?"]`}, "A=1", "n1"},
			{nil, "affinity:image==rare", "n2"},
			{nil, "affinity:image==rare:1", "n2"},
			{nil, "affinity:tier==db", "n3"},
			{nil, "constraint:node==~n3", "n3"},
			{nil, "constraint:storagedriver==twin", ""},
		} {
			name := fmt.Sprintf("c%d", i)
			w.hosts[i%3].create(name, body(c.labels, c.env))
			if p := w.placement(name); c.want != "" && p.Node != "id-"+c.want {
				t.Errorf("%v %s: on %s, want %s", c.labels, c.env, p.Node, c.want)
			}
			if env := fmt.Sprint(w.hosts[0].inspect(name).Config.Env); strings.Contains(env, "constraint:") || strings.Contains(env, "affinity:") {
				t.Errorf("its environment is %s", env)
			}
		}
	})
}

func TestASoftRuleIsDroppedAndAHardOneIsNot(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("big", `{"Image":"busybox","Labels":{"ddocker.node":"n2"},"HostConfig":{"Memory":16000000000}}`)
		ask := func(env string) string {
			return `{"Image":"busybox","Env":["` + env + `"],"HostConfig":{"Memory":8000000000}}`
		}
		w.hosts[0].create("soft", ask("constraint:node==~n2"))
		if p := w.placement("soft"); p.Node != "id-n1" {
			t.Errorf("placed on %s", p.Node)
		}
		w.hosts[0].want(503, "(only a host that meets constraint:node==*2 will do)", post, "/containers/create?name=hard", ask("constraint:node==*2"))
		w.hosts[0].want(503, "(only n2 will do: constraint:node==n2 says so)", post, "/containers/create?name=hard", ask("constraint:node==n2"))
		w.hosts[0].want(503, "n1 does not meet affinity:container==nobody, n2 does not meet", post, "/containers/create?name=hard", ask("affinity:container==nobody"))
		w.hosts[0].want(503, "no host is named n9", post, "/containers/create?name=hard", ask("constraint:node==n9"))
		w.hosts[0].want(400, "is no rule for a host", post, "/containers/create?name=hard", ask("constraint:node=n1"))
		w.hosts[0].want(400, `no host tells of \"colour\"`, post, "/containers/create?name=hard", ask("constraint:colour==red"))
		w.hosts[0].want(400, "is no JSON list", post, "/containers/create?name=hard", `{"Image":"busybox","Labels":{"com.docker.swarm.constraints":"node==n1"}}`)
	})
}
