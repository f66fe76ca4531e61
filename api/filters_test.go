package api

import "testing"

func TestFiltersOfBothFormsReachEnginesInOne(t *testing.T) {
	for text, want := range map[string]string{
		``:                           `{}`,
		`{}`:                         `{}`,
		`{"name":{"a":true}}`:        `{"name":{"a":true}}`,
		`{"name":["b","a"]}`:         `{"name":{"a":true,"b":true}}`,
		`{"label":["a=1"],"x":null}`: `{"label":{"a=1":true},"x":{}}`,
	} {
		f, err := parseFilters(text)
		if err != nil || f.String() != want {
			t.Errorf("%s: got %s, %v", text, f, err)
		}
	}
	for _, text := range []string{`[]`, `{"a":1}`, `{"a":[1]}`, `x`} {
		if f, err := parseFilters(text); err == nil {
			t.Errorf("%s is read as %s", text, f)
		}
	}
}

func TestLabelOfTheClusterIsTakenOutOfFilters(t *testing.T) {
	f, err := parseFilters(`{"label":["ddocker.node=n1","a=1","ddocker.node=n2"],"name":["x"]}`)
	if err != nil {
		t.Fatal(err)
	}
	wantList(t, "values", f.takeLabel(labelNode), "n1", "n2")
	if got := f.String(); got != `{"label":{"a=1":true},"name":{"x":true}}` {
		t.Error(got)
	}
	f = filters{"label": {"ddocker.node=n1"}}
	f.takeLabel(labelNode)
	if got := f.String(); got != `{}` {
		t.Errorf("what is left is %s", got)
	}
}

func TestFiltersThatTheLedgerCannotJudgeMatchNothing(t *testing.T) {
	for text, want := range map[string]bool{
		``:                               true,
		`{"name":["we"]}`:                true,
		`{"name":["^/web$"]}`:            true,
		`{"name":["db","web"]}`:          true,
		`{"name":["db"]}`:                false,
		`{"id":["c1"]}`:                  true,
		`{"id":["1"]}`:                   false,
		`{"name":["web"],"id":["c2"]}`:   false,
		`{"status":["running"]}`:         false,
		`{"name":["web"],"label":["a"]}`: false,
	} {
		f, err := parseFilters(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.mayMatch("c123", "web"); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
