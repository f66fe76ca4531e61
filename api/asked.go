package api

import (
	"crypto/sha256"
	"net/http"
	"regexp"
	"sync"
	"time"
)

// twoStep is the User-Agent of command lines that pull an image and create again
// when they are told that there is none. They show what a pull tells; all others
// wait within the create.
var twoStep = regexp.MustCompile(`^(Docker-Client|ddocker)/[0-9]`)

func pulls(r *http.Request) bool { return twoStep.MatchString(r.UserAgent()) }

const (
	// pullSoon is how long a name is remembered that somebody was told to pull, or
	// has pulled, retrySoon how long the create that is to be asked again after the pull.
	pullSoon  = 10 * time.Minute
	retrySoon = time.Hour
	// maxAsked bounds what is remembered.
	maxAsked = 4096
)

// asked remembers where the images go that clients were told to pull, and which
// creates were told so: no client is told twice, for it would give up.
type asked struct {
	mu    sync.Mutex // guards what follows
	about map[string]told
	order []string
}

type told struct {
	node string // empty: none was chosen, or the create was sent there already
	till time.Time
}

// pullKey, pulledKey and retryKey are what is remembered of a name that somebody
// was told to pull, of one that was pulled, and of a create.
func pullKey(name string) string { return "pull " + name }

func pulledKey(name string) string { return "pulled " + name }

func retryKey(name string, body []byte) string {
	sum := sha256.Sum256(body)
	return "create " + name + " " + string(sum[:])
}

func (a *asked) put(key, node string, life time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.about == nil {
		a.about = map[string]told{}
	}
	if _, known := a.about[key]; !known {
		a.order = append(a.order, key)
	}
	a.about[key] = told{node, time.Now().Add(life)}
	if len(a.order) > maxAsked {
		delete(a.about, a.order[0])
		a.order = a.order[1:]
	}
}

// get returns the node, and whether the key is remembered at all.
func (a *asked) get(key string) (node string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.about[key]
	if !ok || time.Now().After(t.till) {
		return "", false
	}
	return t.node, true
}

// take returns the node as get does, once.
func (a *asked) take(key string) (node string, ok bool) {
	node, ok = a.get(key)
	if node != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		t := a.about[key]
		t.node = ""
		a.about[key] = t
	}
	return node, ok
}
