package ledger

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ddocker/sched"
	"ddocker/settings"
)

// verbs4 are those that version 4 knew. The list is complete for ever.
var verbs4 = []string{
	"Register", "Observe", "Reserve", "Confirm", "Release", "Rename", "Limit", "Configure", "AddToken", "UseToken", "Revoke", "Drain", "LabelNode",
	"Claim", "Unclaim", "NameImage", "Merge", "Unname", "Evict", "Define", "Made", "Unmade", "Undefine", "Attach", "Move",
}

func TestEveryVerbSaysWhichVersionKnowsIt(t *testing.T) {
	shape := reflect.TypeFor[Command]()
	for i := range shape.NumField() {
		f := shape.Field(i)
		if f.Type.Kind() != reflect.Pointer {
			continue
		}
		var c Command
		reflect.ValueOf(&c).Elem().Field(i).Set(reflect.New(f.Type.Elem()))
		if old := slices.Contains(verbs4, f.Name); old != (c.Since() == 4) || c.Since() > Version {
			t.Errorf("%s is of version %d", f.Name, c.Since())
		}
		var entry struct{ V int }
		if data, err := Encode(c); err != nil || json.Unmarshal(data, &entry) != nil || entry.V != c.Since() {
			t.Errorf("%s is written as %s, %v", f.Name, data, err)
		}
	}
}

// Whoever reads version 4 drops a field that it does not know: another replica would keep
// it, and the two were no longer alike. So a new field in an old verb needs a version, or
// must be one that no two replicas need agree on.
func TestEntriesOfVersion4HaveNoNewFields(t *testing.T) {
	var got []string
	for _, name := range verbs4 {
		f, _ := reflect.TypeFor[Command]().FieldByName(name)
		got = append(got, fields(name, f.Type)...)
	}
	slices.Sort(got)
	later := []string{
		"Configure.Allow",      // see Settings.Trusts
		"Configure.BindRoots",  // likewise
		"Configure.Visibility", // likewise
		"Register.Key",         // see Command.At
		"Register.Speaks",      // see Behind
	}
	got = slices.DeleteFunc(got, func(name string) bool { return slices.Contains(later, name) })
	want, err := os.ReadFile("testdata/version4.fields")
	if err != nil {
		t.Fatal(err)
	}
	if d := difference(string(want), strings.Join(got, "\n")+"\n"); d != "" {
		t.Errorf("not as version 4 was:\n%s", d)
	}
}

// fields lists the exported fields of a struct, and of those in it, by their path.
func fields(at string, of reflect.Type) (list []string) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
		return fields(at, of.Elem())
	case reflect.Struct:
	default:
		return []string{at}
	}
	if of == reflect.TypeFor[sched.CPUSet]() || of.PkgPath() == "time" {
		return []string{at}
	}
	for i := range of.NumField() {
		if f := of.Field(i); f.IsExported() {
			list = append(list, fields(at+"."+f.Name, f.Type)...)
		}
	}
	return list
}

func TestSettingsThatVersion4DidNotKnowNeedVersion5(t *testing.T) {
	for _, c := range []struct {
		s    settings.Settings
		want int
	}{
		{settings.Default(), 4},
		{settings.Settings{Visibility: "own"}, 5},
		{settings.Settings{BindRoots: []string{"/home/{user}"}}, 5},
		{settings.Settings{Allow: []string{"build"}}, 5},
	} {
		if got := (&Command{Configure: &c.s}).Since(); got != c.want {
			t.Errorf("%+v: version %d, want %d", c.s, got, c.want)
		}
	}
}

func TestTheLevelRisesOnlyAndIsKeptInSnapshots(t *testing.T) {
	l := New()
	for i, c := range []struct{ to, want int }{{4, 4}, {5, 5}, {4, 5}, {Version + 1, 5}} {
		data, err := json.Marshal(Command{Version: 4, Raise: &Raise{To: c.to}})
		if err != nil {
			t.Fatal(err)
		}
		if r := l.Apply(uint64(i+1), start(), data); l.Level() != c.want || (r.Refusal != nil) != (c.to > Version) {
			t.Errorf("raised to %d: level %d, %v", c.to, l.Level(), r.Refusal)
		}
		if again := restored(t, l); again.Level() != c.want {
			t.Errorf("restored at level %d, want %d", again.Level(), c.want)
		}
	}
}

// An older ddocker's snapshot, and one of a cluster that older ddockers are part of, say 4.
func TestSnapshotsAreOfTheLevel(t *testing.T) {
	l := New()
	if text := string(saved(t, l)); !strings.HasPrefix(text, `{"v":4,`) {
		t.Errorf("written as %s", text)
	}
	l.raise(&Raise{To: 5})
	if text := string(saved(t, l)); !strings.HasPrefix(text, `{"v":5,`) {
		t.Errorf("written as %s", text)
	}
}

func TestARegistrationTellsOfItsKeyWhenAllWouldKeepIt(t *testing.T) {
	c := Command{Register: &Register{Node: "n1", Key: "k"}}
	if c.At(4).Register.Key != "" || c.At(5).Register.Key != "k" || c.Register.Key != "k" {
		t.Errorf("%+v %+v %+v", c.At(4).Register, c.At(5).Register, c.Register)
	}
}
