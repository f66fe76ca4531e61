package api

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"ddocker/engine"
)

// A host tries its engine for GPUs with a container that never runs and an image for
// it. For the second that they exist they are in none of the cluster's lists and events.

var trialMark = []byte(`"` + engine.LabelProbe + `"`)

// trialBox says whether the row of a list is the container of a trial.
func trialBox(r []byte) bool {
	var box struct {
		Labels map[string]string
		Names  []string
		State  string
	}
	return bytes.Contains(r, trialMark) && json.Unmarshal(r, &box) == nil && engine.Probing(box.Labels, box.Names, box.State)
}

// trialImage says whether the row of a list is the image of a trial.
func trialImage(r row) bool {
	var labels map[string]string
	var tags, digests []string
	var size int64
	json.Unmarshal(r["Labels"], &labels)
	json.Unmarshal(r["RepoTags"], &tags)
	json.Unmarshal(r["RepoDigests"], &digests)
	json.Unmarshal(r["Size"], &size)
	return engine.ProbeImage(labels, slices.Concat(tags, digests), size)
}

// trials are the IDs of what a feed was told of trials.
type trials map[string]bool

// maxTrials bounds them; an engine is tried once in its life.
const maxTrials = 64

// hide says whether the event is of a trial. An image that is gone has no labels any
// more, and is known by its ID.
func (t trials) hide(event []byte) bool {
	marked := bytes.Contains(event, trialMark)
	if !marked && len(t) == 0 {
		return false
	}
	var e struct {
		Action string
		Actor  struct {
			ID         string
			Attributes map[string]string
		}
	}
	if json.Unmarshal(event, &e) != nil {
		return false
	}
	about := e.Actor.Attributes
	box := engine.Probing(about, []string{about["name"]}, container.StateCreated)
	if !box && !(e.Action == "import" && engine.ProbeImage(about, nil, 0)) {
		return t[e.Actor.ID]
	}
	if len(t) >= maxTrials {
		clear(t)
	}
	t[e.Actor.ID] = true
	if image := about["image"]; strings.HasPrefix(image, "sha256:") {
		t[image] = true
	}
	return true
}
