package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/docker/pkg/streamformatter"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

func TestProgressIsWhatDockerPullPrints(t *testing.T) {
	w := httptest.NewRecorder()
	out := &messages{w: w}
	out.status("1", "Pulling from %s", "library/x")
	bars := streamformatter.NewJSONProgressOutput(out, false)
	layer := "sha256:0123456789abcdef"
	layers(bars, []image.Progress{{Layer: layer, Status: "Already exists"}, {}})
	layers(bars, []image.Progress{
		{Layer: layer, Status: "Pulling fs layer"},
		{Layer: layer, Status: "Downloading", Current: 1e6, Total: 2e6},
		{Layer: layer, Status: "Download complete"}, {Layer: layer, Status: "Pull complete"},
	})
	if !w.Flushed {
		t.Error("nobody sees it yet")
	}
	out.fail(errors.New("no more"))
	want := []string{
		`{"status":"Pulling from library/x","id":"1"}`,
		`{"status":"Already exists","progressDetail":{},"id":"0123456789ab"}`,
		`{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}`,
		`{"status":"Downloading","progressDetail":{"current":1000000,"total":2000000},"progress":"[=========================\u003e                         ]      1MB/2MB","id":"0123456789ab"}`,
		`{"status":"Download complete","progressDetail":{},"id":"0123456789ab"}`,
		`{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}`,
		`{"errorDetail":{"message":"no more"},"error":"no more"}`, "",
	}
	wantList(t, "messages", strings.Split(w.Body.String(), "\r\n"), want...)
	if err := jsonmessage.DisplayJSONMessagesStream(w.Body, &strings.Builder{}, 0, false, nil); err == nil || err.Error() != "no more" {
		t.Errorf("docker reads %v", err)
	}
}

func TestErrorBeforeTheFirstMessageIsAStatus(t *testing.T) {
	w := httptest.NewRecorder()
	(&messages{w: w}).fail(ledger.NoImage("x"))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `{"message":"No such image: x:latest"}`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// A transfer never waits for whoever watches it, and a watcher is told the
// newest ten times a second.
func TestWatcherIsToldTheNewestTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var told []image.Progress
		err := follow(func(report func(image.Progress)) error {
			for n := range int64(1000) {
				report(image.Progress{Layer: "a", Status: "Downloading", Current: n, Total: 1000})
				report(image.Progress{Layer: "b", Status: "Downloading", Current: n, Total: 1000})
				time.Sleep(time.Millisecond)
			}
			return errors.New("it broke off")
		}, func(list []image.Progress) {
			told = append(told, list...)
		})
		if took := time.Since(begun); took != time.Second || err == nil {
			t.Errorf("it took %v: %v", took, err)
		}
		if len(told) < 18 || len(told) > 22 {
			t.Errorf("told %d times", len(told))
		}
	})
}

func TestQuietBringOnAnotherNodeIsWaitedFor(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		slow := slowImages{nodeImages{w.hosts[1].node}, make(chan error)}
		w.hosts[1].api.local.images = slow
		done := make(chan error, 1)
		go func() { done <- w.hosts[0].api.BringImage(w.Context(), "id-n2", "sha256:0", "") }()
		time.Sleep(5 * time.Minute) // an engine unpacks a large layer, say
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("given up: %v", err)
		case slow.ended <- errors.New("the disk is full"):
		}
		if err := <-done; err == nil || err.Error() != "the disk is full" {
			t.Errorf("got %v", err)
		}
	})
}

func TestNodeThatFallsSilentIsGivenUp(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a := w.hosts[0].api
		a.cfg.Peer = func(string) http.RoundTripper { return deaf{} }
		begun := time.Now()
		err := a.BringImage(w.Context(), "id-n2", "sha256:0123456789abcdef", "")
		if took := time.Since(begun); took != bringSilence || err == nil || err.Error() != "host n2 fell silent while it brought image 0123456789ab" {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestLineOfABringCarriesItsProgress(t *testing.T) {
	var line bringLine
	data, err := json.Marshal(bringLine{Progress: image.Progress{Layer: "sha256:1", Status: "Downloading", Current: 1, Total: 2}})
	if err == nil {
		err = json.Unmarshal(data, &line)
	}
	if err != nil || line.Layer != "sha256:1" || line.Current != 1 || line.Done || line.Error != "" {
		t.Errorf("%s is %+v: %v", data, line, err)
	}
}
