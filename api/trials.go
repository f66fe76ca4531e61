package api

import (
	"bytes"
	"encoding/json"
	"strings"

	"ddocker/engine"
)

// A host tries its engine for GPUs with a container that never runs and an image for
// it. For the second that they exist they are in none of the cluster's lists and events.

var trialMark = []byte(`"` + engine.LabelProbe + `"`)

// trialBox says whether the row of a list is the container of a trial.
func trialBox(r []byte) bool {
	var box struct {
		Labels map[string]string
		State  string
	}
	return bytes.Contains(r, trialMark) && json.Unmarshal(r, &box) == nil && engine.Probing(box.Labels, box.State)
}

// trialImage says whether the row of a list is the image of a trial.
func trialImage(r row) bool {
	var labels map[string]string
	var tags []string
	json.Unmarshal(r["Labels"], &labels)
	json.Unmarshal(r["RepoTags"], &tags)
	return engine.ProbeImage(labels, tags)
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
		Actor struct {
			ID         string
			Attributes map[string]string
		}
	}
	if json.Unmarshal(event, &e) != nil {
		return false
	}
	if e.Actor.Attributes[engine.LabelProbe] == "" {
		return t[e.Actor.ID]
	}
	if len(t) >= maxTrials {
		clear(t)
	}
	t[e.Actor.ID] = true
	if image := e.Actor.Attributes["image"]; strings.HasPrefix(image, "sha256:") {
		t[image] = true
	}
	return true
}
