package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ddocker/api/options"
	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// The holder of a user's container looks where its mounts lead, when it is created and
// whenever it is started: links on the host, the settings and the user's role may have
// changed since. What additional_options give is the administrator's.

const (
	// mountsTimeout bounds a look at paths of the host, and maxLooking how many looks
	// wait at once for a disk that does not answer.
	mountsTimeout = 5 * time.Second
	maxLooking    = 32
	// reservationTimeout bounds the wait for this node to hear of a reservation.
	reservationTimeout = 10 * time.Second
)

// startPath is what starts a container.
var startPath = regexp.MustCompile(`^/containers/([^/]+)/(start|restart)$`)

// mounts is what a container mounts, as bodies and inspects have it.
type mounts struct {
	Binds  []string
	Mounts []struct{ Type, Source, Target, Destination string }
}

// paths are the paths of the host, with their targets.
func (m *mounts) paths() (list []mountWish) {
	for _, b := range m.Binds {
		if parts := strings.Split(b, ":"); len(parts) > 1 && strings.HasPrefix(b, "/") {
			list = append(list, mountWish{mountBind, filepath.Clean(parts[0]), filepath.Clean(parts[1])})
		}
	}
	for _, one := range m.Mounts {
		if one.Type == mountBind {
			list = append(list, mountWish{mountBind, filepath.Clean(one.Source), filepath.Clean(one.Target + one.Destination)})
		}
	}
	return list
}

// admitPlaced refuses the mounts of a new container, and gives up its placement.
func (l *Local) admitPlaced(ctx context.Context, placement string, index uint64, body []byte) error {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), reservationTimeout)
	defer cancel()
	if err := l.ledger.Wait(waiting, index); err != nil {
		return fmt.Errorf("wait for the reservation: %w", err)
	}
	var said struct{ HostConfig mounts }
	if err := json.Unmarshal(body, &said); err != nil {
		return invalid("read the request: %s", err)
	}
	var p *ledger.Placement
	l.ledger.View(func(l *ledger.Ledger) { p = l.Placement(placement) })
	err := l.admitMounts(ctx, p, said.HostConfig.paths)
	if err != nil {
		err = errors.Join(err, l.node.Abandon(context.WithoutCancel(ctx), placement))
	}
	return err
}

// admitStart refuses the mounts of a container that is to start.
func (l *Local) admitStart(ctx context.Context, container string) error {
	var p *ledger.Placement
	l.ledger.View(func(lg *ledger.Ledger) {
		for _, one := range lg.Placed(l.self) {
			if one.Container == container {
				p = one
			}
		}
	})
	var fault error
	err := l.admitMounts(ctx, p, func() []mountWish {
		var has mounts
		fault = l.inspect(ctx, container, &has)
		return has.paths()
	})
	return errors.Join(fault, err)
}

// inspect reads what the engine has of a container. What it does not know, it says
// itself when it is asked to start it.
func (l *Local) inspect(ctx context.Context, container string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, mountsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, get, "http://ddocker/containers/"+container+"/json", nil)
	if err != nil {
		return err
	}
	resp, err := l.engine.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask the Docker Engine of %s what the container mounts: %w", l.name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil
	}
	return json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxAnswer)).Decode(into)
}

// admitMounts refuses what the owner of a placement may not mount here.
func (l *Local) admitMounts(ctx context.Context, p *ledger.Placement, paths func() []mountWish) error {
	if p == nil || p.Owner == "" {
		return nil
	}
	g := &gate{user: p.Owner}
	role := ledger.Member
	l.ledger.View(func(l *ledger.Ledger) { role, g.s = l.RoleOf(p.Owner), l.Settings() })
	if role == ledger.Admin {
		return nil
	}
	given, err := l.given(g.s)
	if err != nil {
		return err
	}
	if err := l.othersThings(p, given); err != nil {
		return err
	}
	for _, m := range paths() {
		if slices.Contains(l.givenPaths(given), m) {
			continue
		}
		source, err := l.leads(ctx, m.Source)
		switch {
		case err != nil:
			return &statusError{http.StatusServiceUnavailable, fmt.Sprintf("mount of %s: host %s does not tell where it leads: %s", m.Source, l.name, err)}
		case source == "" || !within(source, g.s.Roots(g.user)): // which says no more of the host
			return forbidden("mount on host %s: %s, or where it leads, %s", l.name, m.Source, g.outside(""))
		}
	}
	return nil
}

// given is what additional_options give to every container.
func (l *Local) given(s settings.Settings) (*wish, error) {
	overlay, err := options.Parse(s.Options)
	if err != nil {
		return nil, invalid("additional_options of the cluster: %s", err)
	}
	return everywhere(overlay)
}

// givenPaths are the mounts of the host's among what is given.
func (l *Local) givenPaths(given *wish) []mountWish {
	m := mounts{Binds: given.HostConfig.Binds}
	list := m.paths()
	for _, one := range given.HostConfig.Mounts {
		if one.Type == mountBind {
			list = append(list, mountWish{mountBind, filepath.Clean(one.Source), filepath.Clean(one.Target)})
		}
	}
	for i := range list {
		if engineSocket(list[i].Source) && l.socket != "" {
			list[i].Source = l.socket
		}
	}
	return list
}

// othersThings refuses networks and volumes that became somebody else's after they were
// asked for.
func (l *Local) othersThings(p *ledger.Placement, given *wish) (err error) {
	l.ledger.View(func(l *ledger.Ledger) {
		for kind, names := range map[ledger.Kind][]string{ledger.Network: p.Networks, ledger.Volume: p.Volumes} {
			for _, name := range names {
				o := l.Object(kind, name)
				if o == nil || o.Owner == "" || o.Owner == p.Owner || slices.Contains(given.volumes(), name) || slices.Contains(given.networks(), name) {
					continue
				}
				err = forbidden("%s %s belongs to %s", kind, name, o.Owner)
			}
		}
	})
	return err
}

// leads returns where a path of this host really is; empty: nowhere.
func (l *Local) leads(ctx context.Context, source string) (string, error) {
	select {
	case l.looking <- struct{}{}:
	default:
		return "", errors.New("too many looks wait for its disks already")
	}
	found := make(chan string, 1)
	go func() { // a path may be on a server that does not answer
		defer func() { <-l.looking }()
		found <- realPath(source)
	}()
	ctx, cancel := context.WithTimeout(ctx, mountsTimeout)
	defer cancel()
	select {
	case path := <-found:
		return path, nil
	case <-ctx.Done():
		return "", errors.New("its disk does not answer")
	}
}

// realPath follows all links of a path, of which the end need not be there yet: engines
// make directories that are missing, also through links. Empty: it leads nowhere.
func realPath(source string) string {
	missing := ""
	for at := source; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(real, missing)
		}
		if _, link := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) || link == nil || at == "/" {
			return ""
		}
		missing = filepath.Join(filepath.Base(at), missing)
	}
}
