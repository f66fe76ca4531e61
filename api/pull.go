package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	named "github.com/distribution/reference"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/docker/pkg/streamformatter"
	"github.com/opencontainers/go-digest"

	"ddocker/consensus/ledger"
	"ddocker/identity"
	"ddocker/image"
)

// createImage pulls an image or imports one.
func (a *API) createImage(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	switch {
	case query.Get("fromImage") != "":
		a.pull(w, c)
	case query.Get("fromSrc") != "" && query.Get("repo") != "":
		a.importImage(w, c)
	default:
		a.here(w, c)
	}
}

// pull brings an image that the cluster has a name for from the host that has
// it, and no other from a registry.
func (a *API) pull(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	ref, err := pullReference(query.Get("fromImage"), query.Get("tag"))
	if err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	tagged, ok := ref.(named.NamedTagged)
	if _, digested := ref.(named.Digested); digested || !ok {
		a.here(w, c) // a digest, or all tags: that is no name of the cluster's
		return
	}
	out := &messages{w: w}
	if err := a.pullName(c, tagged, out); err != nil {
		out.fail(err)
	}
}

// pullReference reads a name as the engine does: tag may be a digest, and none
// means all tags.
func pullReference(name, tag string) (named.Named, error) {
	ref, err := named.ParseNormalizedNamed(strings.TrimSuffix(name, ":"))
	if err != nil || tag == "" {
		return ref, err
	}
	if d, err := digest.Parse(tag); err == nil {
		return named.WithDigest(named.TrimNamed(ref), d)
	}
	return named.WithTag(ref, tag)
}

// pullName pulls a name, after whoever is making it now.
func (a *API) pullName(c *call, ref named.NamedTagged, out *messages) error {
	name := named.FamiliarString(ref)
	for {
		found, err := a.settledImage(c.Context(), name)
		var taken *ledger.Refusal
		switch {
		case err == nil && found.Name != "":
			return a.pullKnown(c, ref, found, out)
		case err != nil && (!errors.As(err, &taken) || taken.Code != ledger.Unknown):
			return err
		}
		claimed, err := a.pullUpstream(c, name, out)
		if claimed {
			return err
		}
		if !errors.As(err, &taken) || taken.Code != ledger.Conflict {
			return err
		}
		if err := a.awaitClaim(c.Context(), ref, taken, out); err != nil {
			return err
		}
	}
}

// awaitClaim waits until nobody makes the name any more. Without a claim on it,
// or with one of a host that is away, the refusal stands.
func (a *API) awaitClaim(ctx context.Context, ref named.NamedTagged, taken *ledger.Refusal, out *messages) error {
	name := named.FamiliarString(ref)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first := true; ; first = false {
		var i *ledger.Image
		a.cfg.Log.View(func(l *ledger.Ledger) { i = l.Image(name) })
		switch {
		case i == nil || i.ID != "":
			return nil
		case !a.hosts.answers(i.Node):
			return fmt.Errorf("%w, which does not answer: see \"ddocker nodes\"", taken)
		case first:
			out.status(ref.Tag(), "Waiting for host %s, which is making it", a.hosts.name(i.Node))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pullKnown brings an image of the cluster's to the host that a create chose for
// it, or here.
func (a *API) pullKnown(c *call, ref named.NamedTagged, found ledger.FoundImage, out *messages) error {
	if err := a.samePlatform(c, found); err != nil {
		return err
	}
	node := a.cfg.Self
	if asked, ok := a.asked.get(pullKey(found.Name)); ok && a.hosts.answers(asked) {
		node = asked
	}
	out.status(ref.Tag(), "Pulling from %s", named.Path(ref))
	moved := false
	bars := streamformatter.NewJSONProgressOutput(out, false)
	err := follow(func(report func(image.Progress)) error {
		return a.bring(c.Context(), node, found.ID, found.Name, report)
	}, func(list []image.Progress) {
		moved = layers(bars, list) || moved
	})
	switch {
	case err != nil:
		return err
	case moved:
		out.status("", "Status: Downloaded newer image for %s", found.Name)
	default:
		out.status("", "Status: Image is up to date for %s", found.Name)
	}
	return nil
}

// samePlatform refuses a pull for another platform than that of the image which
// has the name, and makes sure that a host that has it answers.
func (a *API) samePlatform(c *call, found ledger.FoundImage) error {
	list, err := a.copies(found, found.Name)
	want := c.URL.Query().Get("platform")
	if err != nil || want == "" {
		return err
	}
	var is struct{ Os, Architecture string }
	body, err := a.hosts.get(c.Context(), list[0].id, "/images/"+list[0].ref+"/json", nil)
	if err != nil || json.Unmarshal(body, &is) != nil || is.Architecture == "" {
		return nil // then it is taken for what it is
	}
	system, arch, _ := strings.Cut(want, "/")
	arch, _, _ = strings.Cut(arch, "/")
	if system != is.Os || arch != "" && arch != is.Architecture {
		return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
			"image %s already exists, for %s/%s, and %s is asked for: remove it first with \"ddocker rmi %s\"", found.Name, is.Os, is.Architecture, want, found.Name)}
	}
	return nil
}

// settleClaim bounds what is done about a claim when its work is over, whether
// its client still waits or not.
const settleClaim = 30 * time.Second

// claim reserves a name for an image that a node makes, and returns the place in
// the log. The error is a *ledger.Refusal where the name is taken.
func (a *API) claim(c *call, name, node string) (claim ledger.Claim, index uint64, err error) {
	claim = ledger.Claim{Claim: identity.NewID(), Name: name, Node: node, Owner: a.cfg.Caller(c.Request)}
	index, err = a.decide(c.Context(), ledger.Command{Claim: &claim})
	var refusal *ledger.Refusal
	if err != nil && !errors.As(err, &refusal) {
		a.giveUp(c.Context(), claim) // it may have been decided all the same
	}
	return claim, index, err
}

// fulfil gives the claim's name to an image of this engine, or, after an error of
// its making, gives the claim up.
func (a *API) fulfil(ctx context.Context, claim ledger.Claim, id string, made error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleClaim)
	defer cancel()
	if made == nil {
		made = a.cfg.Images.NameImage(ctx, claim.Claim, id, claim.Name, claim.Owner)
	}
	if made != nil {
		a.giveUp(ctx, claim)
	}
	return made
}

// giveUp frees the claim's name, if there is one. The claim's node does so later
// where that fails.
func (a *API) giveUp(ctx context.Context, claim ledger.Claim) {
	if claim.Claim == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleClaim)
	defer cancel()
	if _, _, err := a.cfg.Log.Propose(ctx, ledger.Command{Unclaim: &ledger.Unclaim{Claim: claim.Claim}}); err != nil {
		a.log.Warn("claim on a name of an image is not yet given up", "name", claim.Name, "err", err)
	}
}

// pullUpstream has this engine pull a name that the cluster does not have, with
// the client's credentials. Not claimed: another has the name, or makes it.
func (a *API) pullUpstream(c *call, name string, out *messages) (claimed bool, err error) {
	claim, _, err := a.claim(c, name, a.cfg.Self)
	if err != nil {
		return false, err
	}
	err = a.relay(c, c.URL.Query(), c.Body, out, nil)
	id := ""
	if err == nil {
		id, _, _, err = a.cfg.Engine.ImageLayers(c.Context(), name)
	}
	return true, a.fulfil(c.Context(), claim, id, err)
}

// relay sends the request to this engine with another query and body, and passes
// its messages on, but for those that hold keeps back. The error is the engine's
// first.
func (a *API) relay(c *call, query url.Values, body io.Reader, out *messages, hold func(jsonmessage.JSONMessage) bool) error {
	u := url.URL{Scheme: "http", Host: "ddocker", Path: c.row.path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(c.Context(), c.Method, u.String(), body)
	if err != nil {
		return err
	}
	for key, values := range c.Header {
		if key == "X-Registry-Auth" || key == "Content-Type" || strings.HasPrefix(key, "X-Meta-") {
			req.Header[key] = values
		}
	}
	resp, err := a.local.open(req, c.version)
	if err != nil {
		return fmt.Errorf("the Docker Engine of %s does not answer: %w", a.cfg.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return refusalOf(resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var m jsonmessage.JSONMessage
		if json.Unmarshal(lines.Bytes(), &m) == nil && m.Error != nil {
			return m.Error
		}
		if hold == nil || !hold(m) {
			out.Write(append(lines.Bytes(), "\r\n"...))
		}
	}
	return lines.Err()
}

// refusalOf reads an engine's refusal.
func refusalOf(resp *http.Response) error {
	var m struct{ Message string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err != nil || json.Unmarshal(body, &m) != nil || m.Message == "" {
		m.Message = resp.Status
	}
	return &statusError{resp.StatusCode, m.Message}
}

// withQuery returns the call with another query.
func (c *call) withQuery(query url.Values) *call {
	out := *c
	out.Request = c.Request.Clone(c.Context())
	out.URL = &url.URL{RawQuery: query.Encode()}
	return &out
}
