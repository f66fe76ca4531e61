package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// said is what a request asks for, in few words.
func (r *gpuRequest) said() string {
	text, _ := json.Marshal(r.device())
	few := strings.NewReplacer(`"DeviceIDs":null,`, "", `"Driver":"",`, "", `"Options":null`, "", `"Capabilities":[["gpu"]],`, "").Replace(string(text))
	return strings.ReplaceAll(few, ",}", "}")
}

func TestGPUsAreAskedForInManyForms(t *testing.T) {
	for text, want := range map[string]string{
		"all":                                `{"Count":-1}`,
		"-1":                                 `{"Count":-1}`,
		"2":                                  `{"Count":2}`,
		"0":                                  `{"Count":0}`,
		"1:TITAN Xp":                         `{"Count":1,"Options":{"model":"TITAN Xp"}}`,
		`2:"TITAN Xp"`:                       `{"Count":2,"Options":{"model":"TITAN Xp"}}`,
		"TITAN Xp,TITAN Xp":                  `{"Count":1,"Options":{"model":"TITAN Xp"}} {"Count":1,"Options":{"model":"TITAN Xp"}}`,
		`"TITAN Xp", 2:A100`:                 `{"Count":1,"Options":{"model":"TITAN Xp"}} {"Count":2,"Options":{"model":"A100"}}`,
		"A100,H100,mem>=20g":                 `{"Count":1,"Options":{"mem":"20g","model":"A100"}} {"Count":1,"Options":{"mem":"20g","model":"H100"}}`,
		"1,mem>=20g":                         `{"Count":1,"Options":{"mem":"20g"}}`,
		"1, mem=20g":                         `{"Count":1,"Options":{"mem":"20g"}}`,
		"mem>=20g":                           `{"Count":1,"Options":{"mem":"20g"}}`,
		"2:A100,mem>=40g":                    `{"Count":2,"Options":{"mem":"40g","model":"A100"}}`,
		"1,mig=3g.40gb":                      `{"Count":1,"Options":{"mig":"3g.40gb"}}`,
		"2,model=A100":                       `{"Count":2,"Options":{"model":"A100"}}`,
		"device=0;1:2":                       `{"Count":0,"DeviceIDs":["0","1:2"]}`,
		`"device=0,GPU-5c"`:                  `{"Count":0,"DeviceIDs":["0","GPU-5c"]}`,
		"device=all":                         `{"Count":0,"DeviceIDs":["all"]}`,
		"count=2,driver=nvidia":              `{"Driver":"nvidia","Count":2}`,
		"all,capabilities=utility":           `{"Count":-1,"Capabilities":[["utility","gpu"]]}`,
		`all,"capabilities=utility,compute"`: `{"Count":-1,"Capabilities":[["utility","compute","gpu"]]}`,
		`2,"options=a=b,c=d"`:                `{"Count":2,"Options":{"a":"b","c":"d"}}`,
	} {
		requests, err := parseGPUs(text)
		var got []string
		for i := range requests {
			got = append(got, requests[i].said())
		}
		if words := strings.Join(got, " "); err != nil || words != want {
			t.Errorf("%s: got  %s, %v\nwant %s", text, words, err, want)
		}
	}
}

func TestGPUsThatNobodyCanUnderstandAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "it is empty",
		"few":               "invalid count (few): value must be either \"all\" or an integer, with a model behind a colon",
		"TITAN Xp":          "invalid count (TITAN Xp)",
		"1:":                "'1:' is no number and model",
		"1:2":               "'1:2' is no number and model",
		"all:A100":          "'all:A100' is no number and model",
		"x:A100":            "invalid count (x)",
		"1,2":               "'1' is no number and model",
		"2,TITAN Xp":        "'2' is no number and model",
		"all,all":           "'all' is no number and model",
		"1,modle=A100":      "unexpected key 'modle' in 'modle=A100': known are model, mem, mig",
		"1,mem>20g":         "'1' is no number and model",
		"1,mem>=lots":       "invalid memory (lots): write a size such as mem>=20g",
		"1,mem>=0":          "invalid memory (0)",
		"1,mem>=":           "gpu request key 'mem' has no value",
		"1,mem=1g,mem>=2g":  "gpu request key 'mem' can be specified only once",
		"1:A100,model=A100": "gpu request key 'model' can be specified only once",
		"2,count=2":         "gpu request key 'count' can be specified only once",
		"count=x":           "invalid count (x)",
		"device=0,1":        `exclude each other: write "device=0;1" for several`,
		"2,device=0":        "exclude each other",
		"count=1,device=0":  "exclude each other",
		"device=":           "gpu request key 'device' has no value",
		`2,"options=a=""b"`: "failed to read gpu options",
	} {
		if requests, err := parseGPUs(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v\nwant %s", text, requests, err, want)
		}
	}
}

func TestCreateAndDockersRunAskForTheSameGPUs(t *testing.T) {
	for _, text := range []string{"all", "2", "1:TITAN Xp", "TITAN Xp,A100", `1:say "x"`, "1,mem>=20g", "1,mig=3g.40gb", "device=0;GPU-1", `"device=0,1"`, `2,"options=a=b,c=d",driver=nvidia`, "1,capabilities=utility"} {
		var asked [3]string
		for i, command := range [][]string{{"create", "--ports", "0", "--name", "abc"}, {"run", "-d"}, {"container", "create"}} {
			g := newAgent(t)
			g.answers("POST /containers/create", http.StatusCreated, `{"Id":"0123","Warnings":[]}`)
			g.answers("POST /containers/0123/start", http.StatusNoContent, "")
			g.answers("POST /containers/0123/wait", http.StatusOK, `{"StatusCode":0}`)
			g.answers("GET /images/busybox/json", http.StatusOK, `{"Config":{"Cmd":["sh"]}}`)
			if r := g.runs(t, "", append(command, "--gpus", text, "busybox")...); r.code != 0 {
				t.Fatalf("%v --gpus %s: %s", command, text, r.stderr)
			}
			var body struct {
				HostConfig struct{ DeviceRequests []container.DeviceRequest }
			}
			g.body(t, "POST /containers/create", &body)
			for j := range body.HostConfig.DeviceRequests {
				if r := &body.HostConfig.DeviceRequests[j]; len(r.Options) == 0 {
					r.Options = nil
				}
			}
			words, _ := json.Marshal(body.HostConfig.DeviceRequests)
			asked[i] = string(words)
		}
		if asked[0] != asked[1] || asked[1] != asked[2] || asked[0] == "null" {
			t.Errorf("--gpus %s asks for\n%s", text, strings.Join(asked[:], "\n"))
		}
	}
}

func TestRunRefusesWrongGPUsAndExplainsTheRightOnes(t *testing.T) {
	g := newAgent(t)
	for _, empty := range []string{"", ",", "1,", "2:A100,,1:H100"} {
		for _, command := range []string{"run", "create"} {
			g.runs(t, "", command, "--gpus", empty, "busybox").wants(t, 125, "", ` for "--gpus" flag: `)
		}
	}
	g.runs(t, "", "run", "--gpus", "1,mem>=lots", "busybox").wants(t, 125, "", `Error: invalid argument "1,mem>=lots" for "--gpus" flag: invalid memory (lots): write a size`)
	for _, command := range [][]string{{"run"}, {"create"}, {"container", "run"}} {
		if r := g.runs(t, "", append(command, "--help")...); r.code != 0 || !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), "N:MODEL or 'MODEL,MODEL'") {
			t.Errorf("%v --help: %s%s", command, r.stdout, r.stderr)
		}
	}
}
