package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/docker/pkg/streamformatter"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

// hostMessage is one of Docker's messages, with the host that it is about. The
// last one of a host says that it is done, or has an error.
type hostMessage struct {
	Host     string                    `json:"host"`
	Status   string                    `json:"status,omitempty"`
	Progress *jsonmessage.JSONProgress `json:"progressDetail,omitempty"`
	ID       string                    `json:"id,omitempty"`
	Error    string                    `json:"error,omitempty"`
	Done     bool                      `json:"done,omitempty"`
}

// replicate brings an image to more hosts, to all of them at once, and streams
// what they report. A host that fails does not keep the others from it.
func (a *API) replicate(w http.ResponseWriter, c *call) {
	found, err := a.settledImage(c.Context(), c.ref)
	if err == nil {
		_, err = a.copies(found, c.ref)
	}
	var targets []host
	if err == nil {
		targets, err = a.replicaTargets(c, found)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	out := &messages{w: w}
	if len(targets) == 0 {
		_, have := a.lacking(found)
		out.status("", "Image %s is on %s already", c.ref, hostCount(have, ""))
	} else {
		out.status("", "Bringing image %s to %s", c.ref, hostCount(len(targets), "more "))
	}
	var bringing sync.WaitGroup
	for _, to := range targets {
		bringing.Go(func() {
			end := hostMessage{Host: to.name, Done: true}
			if err := a.replicateTo(c, found, to, out); err != nil {
				end.Done, end.Error = false, err.Error()
			}
			out.about(end)
		})
	}
	bringing.Wait()
}

func hostCount(n int, more string) string {
	if n == 1 {
		return "1 " + more + "host"
	}
	return fmt.Sprintf("%d %shosts", n, more)
}

func (a *API) replicateTo(c *call, found ledger.FoundImage, to host, out *messages) error {
	if !a.hosts.answers(to.id) {
		return errors.New("it does not answer: see \"ddocker nodes\"")
	}
	return follow(func(report func(image.Progress)) error {
		return a.bring(c.Context(), to.id, found.ID, found.Name, report)
	}, func(list []image.Progress) {
		for _, p := range list {
			out.about(hostMessage{
				Host: to.name, Status: p.Status, ID: to.name + " " + ledger.Short(p.Layer),
				Progress: &jsonmessage.JSONProgress{Current: p.Current, Total: p.Total},
			})
		}
	})
}

// about writes a message about a host.
func (m *messages) about(what hostMessage) {
	line, err := json.Marshal(what)
	if err != nil {
		line = streamformatter.FormatError(err)
	}
	m.Write(append(line, "\r\n"...))
}

// replicaTargets returns the hosts that are to get the image: those named, whatever
// the ledger knows of them, all that do not have it, or as many as are missing to n,
// which is what the cluster keeps by itself where nothing is said.
func (a *API) replicaTargets(c *call, found ledger.FoundImage) ([]host, error) {
	query := c.URL.Query()
	lacking, have := a.lacking(found)
	if query.Get("all") == "1" || query.Get("all") == "true" {
		return lacking, nil
	}
	if names := query.Get("hosts"); names != "" {
		return a.namedHosts(strings.Split(names, ","))
	}
	lacking = slices.DeleteFunc(lacking, func(h host) bool { return !a.hosts.answers(h.id) })
	wanted := 0
	a.cfg.Log.View(func(l *ledger.Ledger) { wanted = min(l.Settings().ImageReplicas, have+len(lacking)) })
	if n := query.Get("n"); n != "" {
		var err error
		if wanted, err = strconv.Atoi(n); err != nil || wanted < 1 {
			return nil, invalid("%q is no number of hosts", n)
		}
	}
	if wanted > have+len(lacking) {
		return nil, invalid("image %s cannot be on %d hosts: only %d answer, see \"ddocker nodes\"", c.ref, wanted, have+len(lacking))
	}
	return lacking[:max(0, wanted-have)], nil
}

// lacking returns the hosts without the image, those that miss least of it first,
// and how many that answer have it.
func (a *API) lacking(found ledger.FoundImage) (list []host, have int) {
	missing := map[string]int64{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		lacks := l.Missing(found.ID)
		for _, n := range l.Nodes() {
			if n.HasImage(found.ID) {
				if a.hosts.answers(n.Node) {
					have++
				}
				continue
			}
			missing[n.Node] = lacks(n.Node)
			list = append(list, host{n.Node, n.Name})
		}
	})
	slices.SortStableFunc(list, func(x, y host) int { return int(min(max(missing[x.id]-missing[y.id], -1), 1)) })
	return list, have
}

// namedHosts returns the hosts that are named, each once.
func (a *API) namedHosts(names []string) (list []host, err error) {
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	if len(names) == 0 {
		return nil, invalid("no host is named: see \"ddocker nodes\"")
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, name := range names {
			n := l.NodeNamed(name)
			if n == nil {
				err = &ledger.Refusal{Code: ledger.Unknown, Message: fmt.Sprintf("No such node: %s: see \"ddocker nodes\"", name)}
				return
			}
			if at := (host{n.Node, n.Name}); !slices.Contains(list, at) {
				list = append(list, at)
			}
		}
	})
	return list, err
}
