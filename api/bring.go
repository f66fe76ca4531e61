package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

const (
	// bringSilence is how long a node may say nothing of a bring: six heartbeats.
	bringSilence = 30 * time.Second
	// maxLine bounds one message of a stream, in bytes.
	maxLine = 1 << 20
)

// BringImage has a node bring the image with the cluster's ID, by that name if it
// is not empty. It returns when the image is there, which takes as long as it
// takes; a node that falls silent is given up after half a minute.
func (a *API) BringImage(ctx context.Context, node, id, name string) error {
	return a.bring(ctx, node, id, name, func(image.Progress) {})
}

// bring is BringImage, telling how far it is.
func (a *API) bring(ctx context.Context, node, id, name string, report func(image.Progress)) error {
	if err := a.awake(ctx, node); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() { a.watchEngine(ctx, node, cancel) })
	var err error
	if node == a.cfg.Self {
		err = a.cfg.Images.Bring(ctx, id, name, report)
	} else {
		watchdog := time.AfterFunc(bringSilence, func() {
			cancel(fmt.Errorf("host %s fell silent while it brought image %s", a.hosts.name(node), ledger.Short(id)))
		})
		defer watchdog.Stop()
		err = a.bringThere(ctx, node, a.bringQuery(id, name), func(p image.Progress) {
			watchdog.Reset(bringSilence)
			if p.Status != "" {
				report(p)
			}
		})
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// bringQuery is what a node is asked that is to bring an image, of which its own
// ledger may not know yet.
func (a *API) bringQuery(id, name string) url.Values {
	var index uint64
	a.cfg.Log.View(func(l *ledger.Ledger) { index = l.Index() })
	return url.Values{"id": {id}, "name": {name}, queryIndex: {strconv.FormatUint(index, 10)}}
}

// watchEngine cancels what moves an image to a node of which the ledger says that it
// is closed, and whose engine is silent twice. It ends with ctx.
func (a *API) watchEngine(ctx context.Context, node string, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for silent := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !a.closed(node) || !a.silent(ctx, node) {
			silent = 0
		} else if silent++; silent == 2 {
			cancel(a.noEngine(node))
		}
	}
}

func (a *API) bringThere(ctx context.Context, node string, query url.Values, heard func(image.Progress)) error {
	u := url.URL{Scheme: "http", Host: "ddocker", Path: pathBring, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.hosts.transport(node).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("host %s does not answer: %w", a.hosts.name(node), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("host %s brings no image: %s", a.hosts.name(node), resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line bringLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("read what host %s says of image %s: %w", a.hosts.name(node), query.Get("id"), err)
		}
		switch {
		case line.Error != "":
			return errors.New(line.Error)
		case line.Done:
			return nil
		}
		heard(line.Progress)
	}
	return fmt.Errorf("host %s broke off while it brought image %s: %w", a.hosts.name(node), ledger.Short(query.Get("id")), errors.Join(errBrokeOff, lines.Err()))
}

var errBrokeOff = errors.New("the connection ended")
