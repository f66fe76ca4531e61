package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	named "github.com/distribution/reference"

	"ddocker/consensus/ledger"
	"ddocker/crash"
)

// commit makes an image of a container on its holder. Its name is the ledger's
// first: an engine would take it from the image that has it.
func (a *API) commit(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	t, ok := a.located(w, c, query.Get("container"))
	if !ok {
		return
	}
	fields, err := receive(w, c.Request, commitShape())
	if err == nil {
		err = a.admits(c, configRules(), fields)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	body := []byte{} // no changes
	if fields != nil {
		body = raw(fields)
	}
	a.cfg.Crash.At(crash.CommitAsked)
	var claim ledger.Claim // none without a name
	var index uint64
	if repo := query.Get("repo"); repo != "" {
		name, err := imageName(repo, query.Get("tag"))
		if err != nil {
			fail(w, http.StatusBadRequest, "%s", err)
			return
		}
		if claim, index, err = a.claim(c, ledger.Claim{Name: name, Node: t.Node, Commit: true}); err != nil {
			failWith(w, err)
			return
		}
		a.cfg.Crash.At(crash.CommitClaimed)
	}
	query.Del("repo")
	query.Del("tag")
	for key, value := range map[string]string{
		"container": t.Container, queryIndex: strconv.FormatUint(index, 10),
		queryClaim: claim.Claim, queryName: claim.Name, queryOwner: claim.Owner,
	} {
		query.Set(key, value)
	}
	resp, err := a.commitThere(c.withQuery(query), t.Node, claim, body)
	if err != nil {
		failWith(w, err)
		return
	}
	defer resp.Body.Close()
	a.cfg.Crash.At(crash.CommitTold)
	if err := pass(w, resp); err != nil {
		failWith(w, err)
	}
}

// commitThere has the node make the image. The claim is given up where the node
// was certainly not asked; else the node settles it.
func (a *API) commitThere(c *call, node string, claim ledger.Claim, body []byte) (*http.Response, error) {
	if err := a.hosts.there(c.Context(), node); err != nil {
		a.giveUp(c.Context(), claim)
		return nil, fmt.Errorf("commit: host %s cannot be reached: %w", a.hosts.name(node), err)
	}
	u := url.URL{Scheme: "http", Host: "ddocker", Path: c.to(""), RawQuery: c.URL.RawQuery}
	req, err := http.NewRequestWithContext(c.Context(), http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := a.hosts.transport(node).RoundTrip(req)
	if err != nil {
		if notDialled(err) {
			a.giveUp(c.Context(), claim)
		}
		return nil, fmt.Errorf("commit: host %s broke off, see \"ddocker images\" for whether it was made: %w", a.hosts.name(node), err)
	}
	return resp, nil
}

// imageName returns the name that docker means by a repository and a tag, with
// its tag.
func imageName(repo, tag string) (string, error) {
	n, err := named.ParseNormalizedNamed(repo)
	if _, digested := n.(named.Digested); err == nil && digested {
		err = errors.New("a name for an image has no digest")
	}
	if err == nil && tag != "" {
		n, err = named.WithTag(named.TrimNamed(n), tag)
	}
	if err != nil {
		return "", fmt.Errorf("invalid image name %q: %w", strings.TrimSuffix(repo+":"+tag, ":"), err)
	}
	return named.FamiliarString(named.TagNameOnly(n)), nil
}
