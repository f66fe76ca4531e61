package settings_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ddocker/settings"
)

const gib = 1 << 30

func TestTemplateIsAValidFile(t *testing.T) {
	text, err := os.ReadFile("../info_template.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := settings.Parse("info_template.json", text)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		Types: []settings.Type{
			{Name: "12 CPUS, 64 GB", Cores: 12, Memory: 64 * gib},
			{Name: "12 CPUS, 64 GB, 1 TITAN XP", Cores: 12, Memory: 64 * gib, GPUs: []string{"TITAN Xp"}},
			{Name: "24 CPUS, 128 GB, 2 TITAN XP", Cores: 24, Memory: 128 * gib, GPUs: []string{"TITAN Xp", "TITAN Xp"}},
		},
		Buffer:        settings.Buffer{Cores: 5, Memory: 10 * gib},
		StartPort:     25000,
		Options:       []string{"-v /home:/home"},
		ImageReplicas: 2,
		ImageDisk:     85,
	}
	if !reflect.DeepEqual(f.Settings, want) {
		t.Errorf("settings are\n%+v, want\n%+v", f.Settings, want)
	}
	hosts := []settings.Host{{"gpu1", "admin"}, {"gpu2", "admin"}, {"gpu3", "admin"}}
	if !reflect.DeepEqual(f.Hosts, hosts) {
		t.Errorf("hosts are %v, want master first: %v", f.Hosts, hosts)
	}
}

func TestAnEmptyFileIsTheDefault(t *testing.T) {
	f, err := settings.Parse("info.json", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.Settings, settings.Default()) {
		t.Errorf("settings are %+v, want %+v", f.Settings, settings.Default())
	}
}

func TestMistakesAreReportedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"seed's template", "{\n  \"master\":{\"host\":,\"user\":},\n}", "i:2:20: invalid character ','"},
		{"no text", "", "i:1:1: parsing value: unexpected EOF"},
		{"two values", "{} {}", "i:1:4: "},
		{"no object", "[]", "i:1:1: must be an object, not a list"},
		{"slip", `{"buffer":{"memm":1}}`, "i:1:12: /buffer/memm: unknown field (did you mean mem?)"},
		{"longer slip", `{"wrokers":[]}`, "i:1:2: /wrokers: unknown field (did you mean workers?)"},
		{"stranger", `{"buffer":{"disk":1}}`, "i:1:12: /buffer/disk: unknown field (known are cpu, mem)"},
		{"duplicate", `{"buffer":{"cpu":1,"cpu":1}}`, "i:1:20: /buffer/cpu: written twice"},
		{"two types of a name", `{"type":{"a/b":[1,1,""],"a/b":[2,2,""]}}`, "i:1:25: /type/a~1b: written twice"},
		{"no type's name", `{"type":{" ":[1,1,""]}}`, "i:1:14: /type/ : a type needs a name"},
		{"short type", `{"type":{"a":[1,1]}}`, `i:1:14: /type/a: must be [cores, GiB of memory, "GPU model,GPU model"]`},
		{"half a core", `{"type":{"a":[1.5,1,""]}}`, "i:1:15: /type/a/0: must be a whole number"},
		{"no core", `{"type":{"a":[0,1,""]}}`, "i:1:15: /type/a/0: must be from 1 to 1048576"},
		{"no memory", `{"type":{"a":[1,0,""]}}`, "i:1:17: /type/a/1: must be more than 0"},
		{"memory in bytes", `{"type":{"a":[1,68719476736,""]}}`, "i:1:17: /type/a/1: must be at most 1048576 GiB"},
		{"endless memory", `{"buffer":{"mem":1e999}}`, "i:1:18: /buffer/mem: must be at most 1048576 GiB"},
		{"GPU without model", `{"type":{"a":[1,1,"X,,Y"]}}`, `i:1:19: /type/a/2: GPU 2 of "X,,Y" has no model`},
		{"GPU as number", `{"type":{"a":[1,1,2]}}`, "i:1:19: /type/a/2: must be a string, not a number"},
		{"negative", `{"buffer":{"cpu":-1}}`, "i:1:18: /buffer/cpu: must not be negative"},
		{"text for number", `{"buffer":{"cpu":"1"}}`, "i:1:18: /buffer/cpu: must be a number, not a string"},
		{"null", `{"workers":null}`, "i:1:12: /workers: must be a list, not null"},
		{"port 0", `{"start_port_num":0}`, "i:1:19: /start_port_num: must be from 1 to 65535"},
		{"port too high", `{"start_port_num":65536}`, "i:1:19: /start_port_num: must be from 1 to 65535"},
		{"option as list", `{"additional_options":["-t",[]]}`, "i:1:29: /additional_options/1: must be a string, not a list"},
		{"no copy at all", `{"image_replicas":0}`, "i:1:19: /image_replicas: must be from 1 to 100"},
		{"copies without end", `{"image_replicas":101}`, "i:1:19: /image_replicas: must be from 1 to 100"},
		{"half a copy", `{"image_replicas":1.5}`, "i:1:19: /image_replicas: must be a whole number"},
		{"disk over-full", `{"image_disk_percent":101}`, "i:1:23: /image_disk_percent: must be from 1 to 100"},
		{"disk as text", `{"image_disk_percent":"85%"}`, "i:1:23: /image_disk_percent: must be a number, not a string"},
		{"slip in images", `{"image_replica":2}`, "i:1:2: /image_replica: unknown field (did you mean image_replicas?)"},
		{"half seen", `{"visibility":"some"}`, `i:1:15: /visibility: must be "all" or "own"`},
		{"root from here", `{"bind_roots":["home"]}`, "i:1:16: /bind_roots/0: must be the whole path of a directory"},
		{"root that climbs", `{"bind_roots":["/home/.."]}`, "i:1:16: /bind_roots/0: must be the whole path"},
		{"the root", `{"bind_roots":["/"]}`, "i:1:16: /bind_roots/0: would give users all of every host"},
		{"pattern", `{"bind_roots":["/home/*"]}`, "i:1:16: /bind_roots/0: is taken as it is, but for {user}"},
		{"other brackets", `{"bind_roots":["/home/{name}"]}`, "i:1:16: /bind_roots/0: is taken as it is"},
		{"unknown allowance", `{"allow":["privilege"]}`, `i:1:11: /allow/0: unknown allowance "privilege" (did you mean privileged?)`},
		{"allowance without name", `{"allow":["build","cap-add"]}`, `i:1:19: /allow/1: "cap-add" must say which, such as "cap-add=…"`},
		{"allowance of no name", `{"allow":["cap-add="]}`, `i:1:11: /allow/0: "cap-add=" must say which`},
		{"allowance of too much", `{"allow":["build=1"]}`, `i:1:11: /allow/0: unknown allowance "build=1"`},
		{"allowances as text", `{"allow":"build"}`, "i:1:10: /allow: must be a list, not a string"},
		{"empty host", `{"master":{"host":""}}`, "i:1:19: /master/host: must name a host"},
		{"host as number", `{"master":{"host":1}}`, "i:1:19: /master/host: must be a string, not a number"},
		{"host alone", `{"workers":["gpu1"]}`, "i:1:13: /workers/0: must be an object, not a string"},
		{"user alone", `{"workers":[{"user":"a"}]}`, "i:1:13: /workers/0: must name a host"},
		{"deep", strings.Repeat("[", 1000), "i:1:65: more than 64 brackets deep"},
		{"long", strings.Repeat(" ", 1<<20+1), "i: 1048577 bytes is more than the 1048576 of a settings file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := settings.Parse("i", []byte(c.text))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error is\n%v, want\n%s", err, c.want)
			}
		})
	}
}

func TestAllMistakesAreReportedInOrder(t *testing.T) {
	_, err := settings.Parse("info.json", []byte(`{
  // comment
  "start_port_num": "x",
  "bufer": {},
  "type": {"a": [0, -1, ","],},
}`))
	want := `info.json:3:21: /start_port_num: must be a number, not a string
info.json:4:3: /bufer: unknown field (did you mean buffer?)
info.json:5:18: /type/a/0: must be from 1 to 1048576
info.json:5:21: /type/a/1: must not be negative
info.json:5:25: /type/a/2: GPU 1 of "," has no model`
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v, want\n%s", err, want)
	}
}

func TestAnOptionsErrorGetsItsPlace(t *testing.T) {
	f, err := settings.Parse("info.json", []byte("{\"additional_options\": [\n\"-t\",\n  \"--bad\"]}"))
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("unknown flag: --bad")
	got := f.OptionError(1, cause)
	if want := "info.json:3:3: /additional_options/1: unknown flag: --bad"; got.Error() != want || !errors.Is(got, cause) {
		t.Errorf("error is %q, want %q", got, want)
	}
	if got := f.OptionError(2, cause); got != cause {
		t.Errorf("an option that is not there gives %v, want the cause alone", got)
	}
}

func TestATypeIsFoundByNameThenCaseThenNumber(t *testing.T) {
	s := settings.Settings{Types: []settings.Type{{Name: "big"}, {Name: "0"}, {Name: "BIG"}}}
	for asked, want := range map[string]string{"big": "big", "BIG": "BIG", "Big": "big", "0": "0", "2": "BIG"} {
		if got, err := s.Type(asked); err != nil || got.Name != want {
			t.Errorf("Type(%q) is %q, %v; want %q", asked, got.Name, err, want)
		}
	}
	for _, asked := range []string{"", "3", "-1", "small"} {
		_, err := s.Type(asked)
		if err == nil || !strings.HasSuffix(err.Error(), `; choose 0 "big", 1 "0", 2 "BIG"`) {
			t.Errorf("Type(%q) fails with %v, want the menu", asked, err)
		}
	}
	if _, err := settings.Default().Type("0"); err == nil {
		t.Error("no types, yet type 0 is found")
	}
}

func TestSettingsOfAnOlderVersionHaveTheDefaultImages(t *testing.T) {
	var old settings.Settings
	if err := json.Unmarshal([]byte(`{"Types":null,"Buffer":{"Cores":0,"Memory":0},"StartPort":25000,"Options":null}`), &old); err != nil {
		t.Fatal(err)
	}
	if got := old.Complete(); !reflect.DeepEqual(got, settings.Default()) {
		t.Errorf("settings are %+v, want %+v", got, settings.Default())
	}
	own := settings.Settings{ImageReplicas: 7, ImageDisk: 50}
	if got := own.Complete(); !reflect.DeepEqual(got, own) {
		t.Errorf("settings are %+v, want %+v", got, own)
	}
}

func TestFormatReadsWell(t *testing.T) {
	s := settings.Settings{
		Types:         []settings.Type{{"big & \"fast\"", 4, gib * 3 / 2, []string{"A", "A"}}, {"small", 1, gib, nil}},
		Buffer:        settings.Buffer{Cores: 1, Memory: gib / 4},
		StartPort:     25000,
		Options:       []string{"-v /a:/a"},
		ImageReplicas: 3,
		ImageDisk:     90,
		Visibility:    settings.VisibleOwn,
		BindRoots:     []string{"/home/{user}", "/data"},
		Allow:         []string{"build", "cap-add=SYS_PTRACE"},
	}
	want := `{
  "type": {
    "big & \"fast\"": [4, 1.5, "A,A"],
    "small": [1, 1, ""]
  },

  "buffer": {
    "cpu": 1,
    "mem": 0.25
  },

  "start_port_num": 25000,

  "image_replicas": 3,
  "image_disk_percent": 90,

  "visibility": "own",
  "bind_roots": ["/home/{user}", "/data"],
  "allow": ["build", "cap-add=SYS_PTRACE"],

  "additional_options": [
    "-v /a:/a"
  ]
}
`
	if got := s.Format(); string(got) != want {
		t.Errorf("format is\n%s\nwant\n%s", got, want)
	}
}

func TestFormatAndJSONReadBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSettings(t)
		text := want.Format()
		f, err := settings.Parse("info.json", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !reflect.DeepEqual(f.Settings, want) {
			t.Fatalf("read back %+v, want %+v, from\n%s", f.Settings, want, text)
		}
		kept, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var back settings.Settings
		if err := json.Unmarshal(kept, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || !bytes.Equal(kept, again) {
			t.Fatalf("JSON is %s, then %s, %v", kept, again, err)
		}
	})
}

func drawSettings(t *rapid.T) settings.Settings {
	memory := rapid.Int64Range(1, 1<<50)
	model := rapid.StringMatching(`[A-Za-z0-9<]([A-Za-z0-9 ]{0,6}[A-Za-z0-9])?`)
	typ := rapid.Custom(func(t *rapid.T) settings.Type {
		return settings.Type{
			Name:   "t" + rapid.String().Draw(t, "name"),
			Cores:  rapid.IntRange(1, 512).Draw(t, "cores"),
			Memory: memory.Draw(t, "memory"),
			GPUs:   none(rapid.SliceOfN(model, 0, 4).Draw(t, "gpus")),
		}
	})
	byName := func(t settings.Type) string { return t.Name }
	return settings.Settings{
		Types:     none(rapid.SliceOfNDistinct(typ, 0, 4, byName).Draw(t, "types")),
		Buffer:    settings.Buffer{Cores: rapid.IntRange(0, 9).Draw(t, "cores"), Memory: memory.Draw(t, "memory")},
		StartPort: rapid.Uint16Range(1, 65535).Draw(t, "port"),
		Options:   none(rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "options")),

		ImageReplicas: rapid.IntRange(1, 100).Draw(t, "replicas"),
		ImageDisk:     rapid.IntRange(1, 100).Draw(t, "disk"),

		Visibility: rapid.SampledFrom([]string{"", settings.VisibleOwn}).Draw(t, "visibility"),
		BindRoots:  none(rapid.SliceOfN(rapid.StringMatching(`/[a-z]{1,3}(/\{user\})?`), 0, 2).Draw(t, "roots")),
		Allow: rapid.SampledFrom([][]string{
			nil, {}, {settings.AllowPrivileged}, {settings.AllowBuild, settings.AllowSecurityOpt + "=seccomp=unconfined"},
		}).Draw(t, "allow"),
	}
}

// none makes an empty list nil, as Parse does.
func none[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func FuzzParseFormatsBack(f *testing.F) {
	f.Add([]byte(`{"type":{"a":[1,0.3,"X"],},"start_port_num":80}`))
	f.Add([]byte(`{"additional_options":["\ud800"]} // x`))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := settings.Parse("info.json", text)
		if err != nil {
			return
		}
		again, err := settings.Parse("info.json", first.Format())
		if err != nil || !reflect.DeepEqual(first.Settings, again.Settings) {
			t.Errorf("%+v is read back as %+v, %v", first.Settings, again, err)
		}
	})
}

func TestUsersMayBuildUnlessTheSettingsSayWhatTheyMay(t *testing.T) {
	for text, want := range map[string]bool{`{}`: true, `{"allow":["build"]}`: true, `{"allow":[]}`: false, `{"allow":["swap"]}`: false} {
		f, err := settings.Parse("i", []byte(text))
		if err != nil || f.Allows(settings.AllowBuild) != want || want == f.Trusts() {
			t.Errorf("%s: %v, %v, new to an older version: %v", text, f.Allowed(), err, f.Trusts())
		}
	}
}

func TestRootsAreTheUsersOwn(t *testing.T) {
	s := settings.Settings{BindRoots: []string{"/home/{user}", "/data"}}
	for user, want := range map[string]string{
		"alice": "/home/alice /data", "a.b-c_1": "/home/a.b-c_1 /data",
		"": "/data", "..": "/data", ".": "/data", "a/b": "/data", "root@gpu1": "/data", "{user}": "/data",
	} {
		if got := strings.Join(s.Roots(user), " "); got != want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
}
