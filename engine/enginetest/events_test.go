package enginetest_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

func eventBehaviours() []behaviour {
	return []behaviour{
		{"events of the past are told between since and until", pastEvents},
		{"events end at their until", untilEvents},
		{"events are filtered by what they are about", filteredEvents},
		{"events until before since are refused", reversedEvents},
		{"the last 256 events are remembered", rememberedEvents},
	}
}

// past returns the events that an ended stream tells, as "action of name".
func (l lab) past(since, until time.Time, args ...filters.KeyValuePair) (told []string) {
	l.t.Helper()
	options := events.ListOptions{Until: moment(until), Filters: filters.NewArgs(args...)}
	if !since.IsZero() {
		options.Since = moment(since)
	}
	stream, errs := l.Events(l.ctx, options)
	for {
		select {
		case m := <-stream:
			told = append(told, string(m.Action)+" of "+m.Actor.Attributes["name"])
		case err := <-errs:
			if !errors.Is(err, io.EOF) {
				l.t.Errorf("the events end with %v", err)
			}
			return told
		}
	}
}

func moment(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

func (l lab) tells(what string, got []string, want ...string) {
	l.t.Helper()
	if !slices.Equal(got, want) {
		l.t.Errorf("%s: events are %q, want %q", what, got, want)
	}
}

func pastEvents(l lab) {
	one, two := l.name("a"), l.name("b")
	of := filters.Arg("type", "container")
	first := time.Now()
	l.create(one, container.Config{}, container.HostConfig{})
	second := time.Now()
	l.create(two, container.Config{}, container.HostConfig{})
	third := time.Now()
	l.tells("all", l.past(first, third, of), "create of "+one, "create of "+two)
	l.tells("the second", l.past(second, third, of), "create of "+two)
	l.tells("the first", l.past(first, second, of), "create of "+one)
	l.tells("what follows", l.past(third, third, of))
	if told := l.past(time.Time{}, third, of); len(told) < 2 || told[len(told)-1] != "create of "+two {
		l.t.Errorf("with until alone, events are %q", told)
	}
}

func untilEvents(l lab) {
	name := l.name("a")
	began := time.Now()
	made := make(chan string, 1)
	l.NegotiateAPIVersion(l.ctx) // which two calls at once must not do
	go func() {
		id, err := l.tryCreate(name, container.Config{}, container.HostConfig{})
		if err != nil {
			l.t.Error(err)
		}
		made <- id
	}()
	told := l.past(began, began.Add(2*time.Second), filters.Arg("container", name))
	if took := time.Since(began); took < 2*time.Second {
		l.t.Errorf("the events end after %v", took)
	}
	<-made
	l.tells("until then", told, "create of "+name)
}

func filteredEvents(l lab) {
	name, mark := l.name("a"), l.name("mark")
	began := time.Now()
	id := l.create(name, container.Config{Labels: map[string]string{"mark": mark}}, container.HostConfig{})
	l.must(l.ContainerRename(l.ctx, name, name+"2"))
	ended := time.Now()
	create, rename := "create of "+name, "rename of "+name+"2"
	for what, one := range map[string]struct {
		args []filters.KeyValuePair
		want []string
	}{
		"label":           {[]filters.KeyValuePair{filters.Arg("label", "mark="+mark)}, []string{create, rename}},
		"label's key":     {[]filters.KeyValuePair{filters.Arg("label", "mark")}, []string{create, rename}},
		"another label":   {[]filters.KeyValuePair{filters.Arg("label", "mark=none")}, nil},
		"event":           {[]filters.KeyValuePair{filters.Arg("event", "rename"), filters.Arg("container", id)}, []string{rename}},
		"either event":    {[]filters.KeyValuePair{filters.Arg("event", "rename"), filters.Arg("event", "create"), filters.Arg("container", id[:12])}, []string{create, rename}},
		"type":            {[]filters.KeyValuePair{filters.Arg("type", "image")}, nil},
		"image":           {[]filters.KeyValuePair{filters.Arg("image", busybox)}, []string{create, rename}},
		"image by itself": {[]filters.KeyValuePair{filters.Arg("image", "busybox")}, []string{create, rename}},
		"another image":   {[]filters.KeyValuePair{filters.Arg("image", "none")}, nil},
	} {
		l.tells(what, l.past(began, ended, one.args...), one.want...)
	}
}

func reversedEvents(l lab) {
	l.answers("GET", "/v1.41/events?since=5&until=3", ``, 400, "`since` time \\(5\\) cannot be after `until` time \\(3\\)")
}

func rememberedEvents(l lab) {
	name := l.name("a")
	l.create(name, container.Config{}, container.HostConfig{})
	last := name
	for i := range 270 {
		next := fmt.Sprint(name, "-", i)
		l.must(l.ContainerRename(l.ctx, last, next))
		last = next
	}
	told := l.past(time.Unix(1, 0), time.Now())
	if len(told) != 256 || told[0] != "rename of "+name+"-14" || told[255] != "rename of "+last {
		l.t.Errorf("%d events are remembered, from %q to %q", len(told), told[0], told[len(told)-1])
	}
}
