package image

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestARangeIsOnePartOfALayer(t *testing.T) {
	const size = 100
	for header, want := range map[string]span{
		"":                            {0, 100},
		"bytes=0-":                    {0, 100},
		"bytes=40-":                   {40, 100},
		"bytes=40-49":                 {40, 50},
		"bytes=99-99":                 {99, 100},
		"bytes=0-1000":                {0, 100},
		"bytes=100-":                  {-1, -1},
		"bytes=-5":                    {-1, -1},
		"bytes=5-4":                   {-1, -1},
		"bytes=1-2,4-5":               {-1, -1},
		"bytes=0x1-":                  {-1, -1},
		"bytes=" + "9e99":             {-1, -1},
		"bytes=0-9223372036854775807": {0, 100},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Range", header)
		got, err := spanOf(r)
		if err == nil {
			got, err = got.within(size)
		}
		if want.from < 0 && !errors.Is(err, errPassed) || want.from >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v", header, got, err)
		}
	}
}

func TestWhatIsNotServedIsSaidSo(t *testing.T) {
	m := New(Config{Dir: t.TempDir()})
	const id = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	ask := func(path, part string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Range", part)
		answer := httptest.NewRecorder()
		m.Handler().ServeHTTP(answer, r)
		return answer.Code
	}
	if got := ask("/rpc/image/"+id+"/layer/x", "bytes=z"); got != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a wrong range: %d", got)
	}
	if got := ask("/rpc/image/passwd", ""); got != http.StatusNotFound {
		t.Errorf("no ID: %d", got)
	}
	for range mostStreams {
		m.serving <- struct{}{}
	}
	if got := ask("/rpc/image/"+id+"/layer/x", ""); got != http.StatusServiceUnavailable {
		t.Errorf("more layers than are sent at once: %d", got)
	}
}
