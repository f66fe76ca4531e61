package api

import (
	"fmt"
	"net/http"
	"slices"

	"ddocker/consensus/ledger"
)

// Caller is who sends a request.
type Caller struct {
	Name string
	Role ledger.Role
	// From is where the request came from, for people: "unix socket", or an address.
	From string
}

// admin says whether the caller may do everything.
func (c Caller) admin() bool { return c.Role == ledger.Admin }

// who returns the caller of a call.
func (a *API) who(c *call) Caller { return c.caller }

// right says who may use a route: how, and on what. A row without one serves nobody.
type right uint8

// What is touched: what stands for {} in the path, where nothing else is said.
const (
	ofContainer right = iota + 1
	ofSession         // of exec
	ofImage
	ofNetwork
	ofVolume

	ofWhat = 1<<4 - 1 // the bits of these
)

// How it is touched.
const (
	sees right = (iota + 1) << 4 // who may see it; to others there is no such thing
	owns                         // its owner, and admins

	howFar = 3 << 4 // the bits of these
)

// The rights. To admins all is open.
const (
	open   right = (iota + 1) << 6 // to everybody: it tells nothing of anybody's
	lists                          // to everybody: the verb leaves out what the caller may not see
	admins                         // nobody else
)

const (
	seeContainer = sees | ofContainer
	ownContainer = owns | ofContainer
	seeSession   = sees | ofSession
	ownSession   = owns | ofSession
	seeImage     = sees | ofImage
	ownImage     = owns | ofImage
	seeNetwork   = sees | ofNetwork
	ownNetwork   = owns | ofNetwork
	seeVolume    = sees | ofVolume
	ownVolume    = owns | ofVolume
)

// allowed refuses what the row's right does not allow the caller. It is asked before the
// verb, which then touches the very container that was looked at.
func (a *API) allowed(c *call) error {
	how, what := c.row.may&howFar, c.row.may&ofWhat
	switch {
	case c.row.may == 0:
		return forbidden("nobody may do that: %s %s has no rule", c.row.method, c.row.path)
	case a.who(c).admin(), c.row.may == open, c.row.may == lists, how == sees && !a.onlyOwn(c):
		return nil
	case c.row.may == admins:
		return forbidden("%s is no admin, and only admins may do that: see \"ddocker user ls\"", a.who(c).Name)
	}
	things, err := a.meant(c, what)
	if err != nil {
		return err // what cannot be looked at is not touched
	}
	for i := range things {
		if err := a.may(c, how, &things[i]); err != nil {
			return err
		}
	}
	return nil
}

func forbidden(format string, args ...any) error {
	return &statusError{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

// onlyOwn says whether the caller sees nothing but what is its own.
func (a *API) onlyOwn(c *call) (only bool) {
	a.cfg.Log.View(func(l *ledger.Ledger) { only = l.Settings().Visibility == "own" })
	return only && !a.who(c).admin()
}

// seesOf says whether the caller sees what the owner has.
func (a *API) seesOf(c *call, owner string) bool {
	return a.sight(c)(owner)
}

// thing is what a request is about, as far as it matters who may touch it.
type thing struct {
	name    string   // for people: "container web"
	owners  []string // none, or an empty one: only admins may touch it
	shared  bool     // all see it, whatever the settings say
	free    bool     // all may use it, such as the network "bridge"
	unknown error    // what they are told who may not see it
}

// may refuses to have the caller see the thing, or touch it.
func (a *API) may(c *call, how right, t *thing) error {
	who := a.who(c)
	theirs := slices.DeleteFunc(slices.Clone(t.owners), func(owner string) bool { return owner == who.Name && owner != "" })
	mine := len(t.owners) > 0 && len(theirs) == 0
	switch {
	case who.admin() || mine || t.free:
		return nil
	case !t.shared && len(theirs) == len(t.owners) && a.onlyOwn(c):
		return t.unknown
	case how == sees:
		return nil
	case len(theirs) == 0 || theirs[0] == "":
		return forbidden("%s is nobody's of the cluster: only admins may do that with it", t.name)
	}
	return forbidden("%s is %s's: only %s and admins may do that with it", t.name, theirs[0], theirs[0])
}
