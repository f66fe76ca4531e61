package enginetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	timetypes "github.com/docker/docker/api/types/time"
)

const (
	backlog = 256  // events that the engine remembers, as moby
	pending = 1024 // events that wait for one slow reader; the next ones it loses
)

// bus is the engine's events: the last ones, and who reads along.
type bus struct {
	past    []events.Message
	readers map[chan events.Message]bool
	last    int64 // ns; two events are never of the same instant
}

func (s *bus) publish(m events.Message) {
	now := time.Now()
	s.last = max(s.last+1, now.UnixNano())
	m.Scope, m.Time, m.TimeNano = "local", s.last/1e9, s.last
	if len(s.past) == backlog {
		copy(s.past, s.past[1:])
		s.past = s.past[:backlog-1]
	}
	s.past = append(s.past, m)
	for ch := range s.readers {
		select {
		case ch <- m:
		default:
		}
	}
}

// tell publishes an event of a container.
func (t *Twin) tell(b *box, action events.Action) {
	about := map[string]string{"image": b.config.Image, "name": b.name}
	for k, v := range b.config.Labels {
		about[k] = v
	}
	if action == "die" {
		about["exitCode"] = strconv.Itoa(b.exit)
	}
	t.bus.publish(events.Message{
		Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: b.id, Attributes: about},
	})
}

func (t *Twin) tellImage(img *image, action events.Action, name string) {
	about := map[string]string{}
	if t.images[img.id] != nil { // of what is gone an engine has no labels
		maps.Copy(about, img.spec.Config.Labels)
	}
	about["name"] = name
	t.bus.publish(events.Message{Type: events.ImageEventType, Action: action, Actor: events.Actor{ID: img.id, Attributes: about}})
}

// streamEvents is GET /events with since, until and the filters type, event,
// container, image and label.
func (t *Twin) streamEvents(w http.ResponseWriter, r *http.Request) {
	args, err := filters.FromJSON(r.FormValue("filters"))
	if err != nil {
		write(w, refuse(http.StatusBadRequest, "%v", err))
		return
	}
	since, until := instant(r.FormValue("since")), instant(r.FormValue("until"))
	if !until.IsZero() && until.Before(since) {
		write(w, refuse(http.StatusBadRequest, "`since` time (%s) cannot be after `until` time (%s)", r.FormValue("since"), r.FormValue("until")))
		return
	}
	live := make(chan events.Message, pending)
	var past []events.Message
	var life chan struct{}
	defer t.unsubscribe(live)
	if _, ok := t.perform(r.Context(), Read, func() reply {
		if r.Context().Err() == nil {
			past, life = t.subscribe(live, since, until), t.life
		}
		return reply{}
	}); !ok {
		return
	}
	end := after(until)
	defer end.Stop()
	w.Header().Set("Content-Type", "application/json")
	flush(w)
	out := json.NewEncoder(w)
	send := func(m events.Message) bool {
		if matches(args, m) && (until.IsZero() || m.TimeNano <= until.UnixNano()) {
			return out.Encode(m) == nil && flush(w)
		}
		return true
	}
	for _, m := range past {
		if !send(m) {
			return
		}
	}
	for {
		select {
		case m := <-live:
			if !send(m) {
				return
			}
		case <-end.C:
			return
		case <-life:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// subscribe runs with the lock held.
func (t *Twin) subscribe(live chan events.Message, since, until time.Time) []events.Message {
	if t.bus.readers == nil {
		t.bus.readers = map[chan events.Message]bool{}
	}
	t.bus.readers[live] = true
	if since.IsZero() && until.IsZero() {
		return nil
	}
	var past []events.Message
	for _, m := range t.bus.past {
		if since.IsZero() || m.TimeNano >= since.UnixNano() {
			past = append(past, m)
		}
	}
	return past
}

func (t *Twin) unsubscribe(live chan events.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.bus.readers, live)
}

func matches(args filters.Args, m events.Message) bool {
	action, _, _ := strings.Cut(string(m.Action), ":")
	isContainer := m.Type == events.ContainerEventType
	return args.ExactMatch("type", string(m.Type)) && args.ExactMatch("event", action) &&
		(!args.Contains("container") || isContainer &&
			(args.FuzzyMatch("container", m.Actor.ID) || args.ExactMatch("container", m.Actor.Attributes["name"]))) &&
		matchesImage(args, m) && (!args.Contains("label") || args.MatchKVList("label", m.Actor.Attributes))
}

// matchesImage looks at an image's ID and name, and at the name of a container's.
func matchesImage(args filters.Args, m events.Message) bool {
	name := m.Actor.Attributes["image"]
	if m.Type == events.ImageEventType {
		name = m.Actor.Attributes["name"]
	}
	repository, _, _ := strings.Cut(name, ":")
	return args.ExactMatch("image", m.Actor.ID) || args.ExactMatch("image", name) || args.ExactMatch("image", repository)
}

// instant reads seconds.nanoseconds; no text is the zero time.
func instant(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	s, ns, err := timetypes.ParseTimestamps(text, 0)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(s, ns)
}

// after fires at the instant, or never if it is the zero time.
func after(until time.Time) *time.Timer {
	if until.IsZero() {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTimer(time.Until(until))
}
