package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	named "github.com/distribution/reference"
	"github.com/docker/docker/pkg/streamformatter"
	"github.com/opencontainers/go-digest"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

// createImage pulls an image or imports one.
func (a *API) createImage(w http.ResponseWriter, c *call) {
	c = c.withoutForm()
	query := c.URL.Query()
	switch {
	case query.Get("fromImage") != "":
		a.pull(w, c)
	case query.Get("fromSrc") != "" && query.Get("repo") != "":
		a.importImage(w, c)
	default:
		a.hereAwake(w, c)
	}
}

// hereAwake passes the request to this node's engine, if that answers.
func (a *API) hereAwake(w http.ResponseWriter, c *call) {
	if err := a.awake(c.Context(), a.cfg.Self); err != nil {
		failWith(w, err)
		return
	}
	a.here(w, c)
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
		a.hereAwake(w, c) // a digest, or all tags: that is no name of the cluster's
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
	if err := a.awake(c.Context(), a.pullsTo(name)); err != nil {
		return err
	}
	for {
		found, err := a.settledImage(c.Context(), name)
		var taken *ledger.Refusal
		switch {
		case err == nil && found.Name != "" && !a.seesImage(c, name):
			return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("the name of image %s is taken by somebody whose images you do not see: ask an admin for it", name)}
		case err == nil && found.Name != "":
			return a.pulled(name, a.pullKnown(c, ref, found, out))
		case err != nil && (!errors.As(err, &taken) || taken.Code != ledger.Unknown):
			return err
		}
		claimed, err := a.pullUpstream(c, name, out)
		if claimed {
			return a.pulled(name, err)
		}
		if !errors.As(err, &taken) || taken.Code != ledger.Conflict {
			return err
		}
		if err := a.awaitClaim(c.Context(), ref, out); err != nil {
			return err
		}
	}
}

// pullsTo returns where a pull of the name brings it: to the host that a create
// chose for it, or here.
func (a *API) pullsTo(name string) string {
	if asked, _ := a.asked.get(pullKey(name)); asked != "" && a.hosts.answers(asked) {
		return asked
	}
	return a.cfg.Self
}

// pulled remembers a pull that ended well.
func (a *API) pulled(name string, err error) error {
	if err == nil {
		a.asked.put(pulledKey(name), "", pullSoon)
	}
	return err
}

// pullKnown brings an image of the cluster's to where the pull goes. Where it is by
// that name already, nothing is asked of the ledger, which may have no leader.
func (a *API) pullKnown(c *call, ref named.NamedTagged, found ledger.FoundImage, out *messages) error {
	if err := a.samePlatform(c, found); err != nil {
		return err
	}
	node := a.pullsTo(found.Name)
	a.asked.take(pullKey(found.Name))
	out.status(ref.Tag(), "Pulling from %s", named.Path(ref))
	if a.means(c.Context(), node, found) {
		out.status("", "Status: Image is up to date for %s", found.Name)
		return nil
	}
	bars := streamformatter.NewJSONProgressOutput(out, false)
	err := follow(func(report func(image.Progress)) error {
		return a.bring(c.Context(), node, found.ID, found.Name, report)
	}, func(list []image.Progress) { layers(bars, list) })
	if err != nil {
		return err
	}
	out.status("", "Status: Downloaded newer image for %s", found.Name)
	return nil
}

// means says whether the node's engine has the image by its name.
func (a *API) means(ctx context.Context, node string, found ledger.FoundImage) bool {
	var is struct{ ID string }
	body, err := a.hosts.get(ctx, node, "/images/"+found.Name+"/json", nil)
	return err == nil && json.Unmarshal(body, &is) == nil && is.ID == found.ID
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

// pullUpstream has this engine pull a name that the cluster does not have, with
// the client's credentials. Not claimed: another has the name, or makes it.
func (a *API) pullUpstream(c *call, name string, out *messages) (claimed bool, err error) {
	claim, _, err := a.claim(c, ledger.Claim{Name: name, Node: a.cfg.Self})
	if err != nil {
		return false, err
	}
	err = a.relay(c, c.URL.Query(), http.NoBody, out, nil)
	id := ""
	if err == nil {
		id, _, _, err = a.cfg.Engine.ImageLayers(c.Context(), name)
	}
	return true, a.fulfil(c.Context(), claim, id, err)
}
