package api

import (
	"context"
	"errors"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

const (
	// slowest is the speed in bytes a second above which an image is worth waiting
	// for within a create.
	slowest = 1 << 20
	// quick is how many bytes come so soon that nobody has to see them come.
	quick = 16 << 20
)

// chooseImage finds out which image the create means. One that the ledger does
// not know is left for the hosts to be asked for.
func (a *API) chooseImage(c *call, o *order) error {
	found, err := a.knownImage(c.Context(), o.reserve.Image)
	var refusal *ledger.Refusal
	if errors.As(err, &refusal) && refusal.Code != ledger.Unknown {
		return err
	}
	o.reserve.ImageID = found.ID
	if _, _, local := ledger.CutHost(o.reserve.Image); pulls(c.Request) && !local && (err != nil || found.Name != "") {
		o.retry = retryKey(c.URL.Query().Get("name"), o.body)
	}
	return nil
}

// place reserves a place. A create that comes again after its pull goes where the
// image was brought, if it fits there.
func (a *API) place(ctx context.Context, o *order) (*ledger.Placement, uint64, error) {
	node, again := a.asked.take(o.retry)
	if node != "" && o.reserve.Request.Host == "" {
		there := o.reserve
		there.Placement = identity.NewID()
		there.Request.Host, there.Request.HostReason = a.hosts.name(node), "its image was brought there"
		if p, index, err := a.cfg.Node.Place(ctx, there); err == nil {
			return p, index, nil
		}
	}
	o.reserve.Placement = identity.NewID()
	p, index, err := a.cfg.Node.Place(ctx, o.reserve)
	var refusal *ledger.Refusal
	switch {
	case o.retry == "" || again:
		return p, index, err
	case errors.As(err, &refusal) && refusal.Code == ledger.Unknown:
		a.asked.put(o.retry, "", retrySoon)
	case err == nil && !a.pulledLately(o.reserve.Image) && a.toBring(p) >= quick:
		return nil, 0, a.sendToPull(ctx, o, p)
	}
	return p, index, err
}

// pulledLately says whether a client was served a pull of the image here. One that
// pulls before it creates would give up if it was told that there is none.
func (a *API) pulledLately(ref string) (lately bool) {
	if name, ok := ledger.ImageName(ref); ok {
		_, lately = a.asked.get(pulledKey(name))
	}
	return lately
}

// sendToPull gives the place up and tells the client that there is no such image:
// it pulls the image then, which brings it to that host, and comes again.
func (a *API) sendToPull(ctx context.Context, o *order, p *ledger.Placement) error {
	if err := a.cfg.Node.Abandon(ctx, p.ID); err != nil {
		a.log.Warn("placement is not yet released", "placement", p.ID, "err", err)
	}
	if name, ok := ledger.ImageName(o.reserve.Image); ok {
		a.asked.put(pullKey(name), p.Node, pullSoon)
	}
	a.asked.put(o.retry, p.Node, retrySoon)
	return ledger.NoImage(o.reserve.Image)
}

// toBring returns how many bytes of the placement's image its host lacks: all that
// some host counts, where its layers are not known.
func (a *API) toBring(p *ledger.Placement) (bytes int64) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if n := l.Node(p.Node); n == nil || n.HasImage(p.ImageID) {
			return
		}
		for _, name := range l.ImageNames(p.ImageID) {
			if len(l.Image(name).Layers) > 0 {
				bytes = l.Missing(p.ImageID)(p.Node)
				return
			}
		}
		for _, id := range l.ImageHolders(p.ImageID) {
			bytes = max(bytes, l.Node(id).Holding(p.ImageID).Size)
		}
	})
	return bytes
}

// bringTime is how long the placement's image may take to come to its host.
func (a *API) bringTime(p *ledger.Placement) time.Duration {
	return time.Duration(a.toBring(p)/slowest) * time.Second
}
