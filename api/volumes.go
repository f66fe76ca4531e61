package api

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"

	"ddocker/consensus/ledger"
)

// createVolume takes the name in the ledger and has a volume made. One that exists is
// shown, as docker does.
func (a *API) createVolume(w http.ResponseWriter, c *call) {
	body, err := receive(w, c.Request, volumeShape())
	var name string
	if err == nil {
		err = a.admits(c, volumeRules(), body)
	}
	if err == nil {
		name, err = text(body, "Name")
	}
	if err != nil {
		failWith(w, err)
		return
	}
	if name == "" {
		name = newID()
		body = withField(body, "Name", name)
	}
	if err := a.usesObject(c, ledger.Volume, name); err != nil {
		failWith(w, err)
		return
	}
	if f, err := a.findObject(c.Context(), ledger.Volume, name); err == nil {
		// Its engine says whether it is what is asked for.
		if err := a.reached(c.Context(), ledger.Volume, name, f.node); err != nil {
			failWith(w, err)
			return
		}
		a.sendBody(w, c, f.node, c.to(""), raw(body))
		return
	}
	answer, err := a.createObject(c, ledger.Volume, name, raw(body))
	if err != nil {
		failWith(w, err)
		return
	}
	answer.writeTo(w)
}

// withField sets a field, also where there was no body at all.
func withField(body map[string]json.RawMessage, key string, value any) map[string]json.RawMessage {
	if body == nil {
		body = map[string]json.RawMessage{}
	}
	body[key] = raw(value)
	return body
}

// newID makes up 64 digits, as engines do for what has no name.
func newID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}

// listVolumes merges the hosts' volumes; those of the cluster stand as their home has
// them.
func (a *API) listVolumes(w http.ResponseWriter, c *call) {
	rows, warnings := []row{}, []string{}
	for _, one := range a.hosts.each(c.Context(), c.to(""), c.URL.Query()) {
		list, told, err := a.volumeRows(one, c)
		if err != nil {
			failWith(w, err)
			return
		}
		list = slices.DeleteFunc(list, func(r row) bool { return !a.seesObject(c, ledger.Volume, r) })
		for _, r := range list {
			a.tellOwner(r, a.objectOf(ledger.Volume, r))
		}
		rows, warnings = append(rows, list...), append(warnings, told...)
	}
	reply(w, http.StatusOK, map[string]any{"Volumes": rows, "Warnings": warnings})
}

func (a *API) volumeRows(one answer, c *call) (rows []row, warnings []string, err error) {
	if one.err != nil {
		if answered(one.err) {
			return nil, nil, one.err
		}
		rows, err = a.absentObjects(ledger.Volume, one.id, c)
		return rows, []string{"host " + one.name + " is unreachable"}, err
	}
	var list struct {
		Volumes  []row
		Warnings []string
	}
	if err := json.Unmarshal(one.body, &list); err != nil {
		return nil, nil, err
	}
	for _, r := range list.Volumes {
		var name string
		json.Unmarshal(r["Name"], &name) // an empty one is hidden by nobody
		if !a.hidden(ledger.Volume, name, one.id) {
			rows = append(rows, r)
		}
	}
	return rows, list.Warnings, nil
}

func (a *API) inspectVolume(w http.ResponseWriter, c *call) {
	f, err := a.findObject(c.Context(), ledger.Volume, c.ref)
	if err == nil {
		err = a.reached(c.Context(), ledger.Volume, c.ref, f.node)
	}
	var answer *record
	if err == nil {
		answer, err = a.request(c.Context(), get, f.node, c.to(f.id), c.URL.Query(), nil)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	var r row
	if f.obj != nil && answer.status == http.StatusOK && json.Unmarshal(answer.body.Bytes(), &r) == nil {
		a.tellOwner(r, f.obj)
		answer.body.Reset()
		answer.body.Write(raw(r))
	}
	answer.writeTo(w)
}

func (a *API) removeVolume(w http.ResponseWriter, c *call) { a.removeObject(w, c, ledger.Volume) }
