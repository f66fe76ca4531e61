package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"ddocker/test/judge"
)

// told is what clients were told of their containers. One that somebody is not sure of is
// looked for in the next quiet time.
type told struct {
	mu  sync.Mutex // guards what follows
	all map[string]*own
}

// own is one client's container, or a guard.
type own struct {
	name, id string
	runs     bool // a start was acknowledged, and nothing after it
	unsure   bool // the answer to the last command did not come, or was an error
	unsureOf string
	quiet    judge.Container // as it was in the last quiet time; none: it was used since
}

func (t *told) put(o own) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[o.name] = &o
}

func (t *told) change(name string, change func(*own)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.all[name]; o != nil {
		o.quiet = judge.Container{}
		change(o)
	}
}

// rename is for a name that was acknowledged.
func (t *told) rename(from, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.all[from]; o != nil {
		delete(t.all, from)
		o.name, o.quiet = to, judge.Container{}
		t.all[to] = o
	}
}

func (t *told) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, name)
}

func (t *told) get(name string) (own, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.all[name]
	if o == nil {
		return own{}, false
	}
	return *o, true
}

// compare says in what the engines differ from what clients were told, and takes over from
// them what clients are not sure of.
func (t *told) compare(have map[string]judge.Container) (wrong []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	byName := map[string]judge.Container{}
	for _, c := range have {
		byName[c.Name] = c
	}
	for _, name := range slices.Sorted(maps.Keys(t.all)) {
		o := t.all[name]
		if is := byName[name]; o.unsure {
			if o.unsure, o.unsureOf = false, ""; is.ID == "" {
				delete(t.all, name)
				continue
			}
			o.id, o.runs, o.quiet = is.ID, is.Running, is
			continue
		}
		is := have[o.id]
		switch {
		case is.Name != name:
			wrong = append(wrong, fmt.Sprintf("%s was acknowledged as %.12s, which is %q", name, o.id, is.Name))
			delete(t.all, name)
			continue
		case is.Running != o.runs:
			wrong = append(wrong, fmt.Sprintf("%s on %s: a client was told that it runs: %v; it runs: %v", name, is.Host, o.runs, is.Running))
		case o.quiet.ID != "":
			wrong = append(wrong, judge.Touched(map[string]judge.Container{o.id: o.quiet}, have)...)
		}
		o.runs, o.quiet = is.Running, is
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if c := byName[name]; c.Placement != "" && t.all[name] == nil {
			wrong = append(wrong, fmt.Sprintf("%s (%.12s on %s) is there, and was removed, or nobody was told of it", name, c.ID, c.Host))
		}
	}
	return wrong
}
