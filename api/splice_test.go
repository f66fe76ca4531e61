package api

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestRowsAreTakenApartAsTheyWereWritten(t *testing.T) {
	for text, want := range map[string][]string{
		`[]`: nil, `null`: nil, " [ ] \n": nil,
		`[1,-2.5e3,true,null,"a"]`:                 {`1`, `-2.5e3`, `true`, `null`, `"a"`},
		` [ {"a" : [1, {"b":"]}"}]} , "x\\\"," ] `: {`{"a" : [1, {"b":"]}"}]}`, `"x\\\","`},
		`[[],{},[[]]]`:                             {`[]`, `{}`, `[[]]`},
	} {
		values, ok := elements([]byte(text))
		var got []string
		for _, v := range values {
			got = append(got, string(v))
		}
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q %v", text, got, ok)
		}
	}
	for _, text := range []string{``, `{}`, `[`, `[1`, `[1,]`, `["a]`, `7`, `[{]}`, `[] []`} {
		if values, ok := elements([]byte(text)); ok {
			t.Errorf("%q is taken for a list of %q", text, values)
		}
	}
}

func FuzzMembersAreThoseOfTheDecoder(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"a":1}`, `{ "a\"" : "}" , "b":{"c":[]} }`, `{"Labels":null,"Id":"x","Created":12}`, `[1]`, `null`, `{"":""}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		values, ok := elements([]byte("[" + string(text) + "]"))
		if !ok {
			return
		}
		for _, v := range values {
			var want map[string]json.RawMessage
			json.Unmarshal(v, &want) // no object has no members
			got := map[string]json.RawMessage{}
			for parts := members(v); len(parts) > 1; parts = parts[2:] {
				var name string
				if err := json.Unmarshal(parts[0], &name); err != nil {
					t.Fatalf("%s: %s is no name: %v", v, parts[0], err)
				}
				got[name] = parts[1]
			}
			if len(got) != len(want) {
				t.Fatalf("%s: members are %q, not %q", v, got, want)
			}
			for name := range want {
				if string(got[name]) != string(want[name]) {
					t.Errorf("%s: %q is %s, not %s", v, name, got[name], want[name])
				}
			}
		}
	})
}

func TestLabelsGetTheHostOnce(t *testing.T) {
	for labels, want := range map[string]string{
		``: `{"ddocker.node":"h1"}`, `null`: `{"ddocker.node":"h1"}`, `{}`: `{"ddocker.node":"h1"}`,
		`{"ddocker.node":"h9","a":"b"}`: `{"a":"b","ddocker.node":"h1"}`,
	} {
		if got := string(labelled([]byte(labels), "h1")); got != want {
			t.Errorf("%s becomes %s", labels, got)
		}
	}
}
