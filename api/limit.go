package api

import (
	"io"
	"net/http"
	"regexp"
)

// update has the holder change the limits of a container. What grows must be free
// there.
func (a *API) update(w http.ResponseWriter, c *call) {
	fields, err := receive(w, c.Request, updateShape())
	if err == nil && fields == nil {
		err = invalid("read the request: it is no JSON object")
	}
	if err == nil {
		err = a.admitUpdate(c, fields)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	if t, ok := a.located(w, c, c.ref); ok {
		a.send(w, c.withBody(fields), t.Node, t.Container)
	}
}

var updatePath = regexp.MustCompile(`^/containers/([^/]+)/update$`)

// limit changes the limits of a container of this node.
func (l *Local) limit(w http.ResponseWriter, r *http.Request, version, container string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, http.StatusBadRequest, "read the request: %s", err)
		return
	}
	status, answer, err := l.update(r.Context(), container, version, body)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	w.Write(answer)
}
