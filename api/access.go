package api

import (
	"fmt"
	"net/http"

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

// allowed refuses what the row's rule does not allow the caller.
func (a *API) allowed(c *call) error {
	switch may := c.row.may; {
	case may == 0:
		return &statusError{http.StatusForbidden, "nobody may do that: the route has no rule"}
	case a.who(c).admin(), may == open, may == lists:
		return nil
	case may == admins:
		return &statusError{http.StatusForbidden, fmt.Sprintf("%s is no admin: only admins may do that (see \"ddocker user ls\")", a.who(c).Name)}
	}
	return nil
}
