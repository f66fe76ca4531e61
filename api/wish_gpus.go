package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

// Options of a device request that say which cards will do.
const (
	optionModel   = "model" // as sched.SameModel reads it
	optionMemory  = "mem"   // at least so much, as docker's -m has it
	optionProfile = "mig"   // the profile of a MIG device
)

const (
	driverNVIDIA = "nvidia"
	driverCDI    = "cdi"
	kindCDI      = "nvidia.com/gpu=" // what NVIDIA's cards are called by their CDI names
	allGPUs      = "all"             // stands for every card among the IDs of a device request
	maxGPUs      = 128               // bounds the cards that one request may name by their number
)

var (
	cardIndex = regexp.MustCompile(`^[0-9]{1,4}(:[0-9]{1,4})?$`)
	cardUUID  = regexp.MustCompile(`^(GPU|MIG)-[0-9a-zA-Z/_-]+$`)
)

// deviceWish is one of Docker's device requests.
type deviceWish struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      map[string]string
}

// gpus adds what the device requests ask for to r, in the place of what its type has.
func (w *wish) gpus(r *sched.Request) error {
	asked := sched.Request{}
	for i := range w.HostConfig.DeviceRequests {
		if err := w.HostConfig.DeviceRequests[i].addTo(&asked); err != nil {
			return err
		}
	}
	if len(asked.GPUs) > maxGPUs {
		return fmt.Errorf("%d GPUs are more than one host has", len(asked.GPUs))
	}
	if len(w.HostConfig.DeviceRequests) > 0 {
		r.GPUs, r.AllGPUs = asked.GPUs, asked.AllGPUs
	}
	return nil
}

func (d *deviceWish) addTo(r *sched.Request) error {
	ids, byCDI := d.cdi()
	if !byCDI && d.Driver != driverNVIDIA && !slices.ContainsFunc(d.Capabilities, func(c []string) bool { return slices.Contains(c, "gpu") }) {
		return errors.New("device requests other than for GPUs cannot be placed")
	}
	kind, err := d.kind()
	switch {
	case err != nil:
		return err
	case d.Count != 0 && len(ids) > 0:
		return errors.New("cannot set both Count and DeviceIDs on device request") // as engines say it
	case d.Count > maxGPUs:
		return fmt.Errorf("%d GPUs are more than one host has", d.Count)
	case d.Count < 0:
		ids = []string{allGPUs}
	}
	for range d.Count {
		r.GPUs = append(r.GPUs, kind)
	}
	return addCards(r, ids, kind)
}

// cdi returns the IDs of the request, those that CDI has for NVIDIA's cards as the
// cards' own.
func (d *deviceWish) cdi() (ids []string, ok bool) {
	if d.Driver != driverCDI || len(d.DeviceIDs) == 0 {
		return d.DeviceIDs, false
	}
	for _, id := range d.DeviceIDs {
		own, ok := strings.CutPrefix(id, kindCDI)
		if !ok {
			return nil, false
		}
		ids = append(ids, own)
	}
	return ids, true
}

// kind is what the options say of each card.
func (d *deviceWish) kind() (kind sched.GPUWish, err error) {
	for _, key := range slices.Sorted(maps.Keys(d.Options)) {
		value := d.Options[key]
		if value == "" {
			return kind, fmt.Errorf("option %q of a device request has no value", key)
		}
		switch key {
		case optionModel:
			kind.Model = value
		case optionProfile:
			kind.Profile = value
		case optionMemory:
			if kind.Memory, err = units.RAMInBytes(value); err != nil || kind.Memory <= 0 {
				return kind, fmt.Errorf("option %s=%s of a device request is no size: write one such as 20g", key, value)
			}
		default:
			return kind, fmt.Errorf("unknown option %q of a device request: known are %s, %s (at least so much memory) and %s (a profile)",
				key, optionModel, optionMemory, optionProfile)
		}
	}
	return kind, nil
}

// addCards adds wishes for these cards, each by its UUID, the beginning of one, or its
// index, or all. Each must be of the kind besides.
func addCards(r *sched.Request, ids []string, kind sched.GPUWish) error {
	for _, id := range ids {
		one := kind
		switch {
		case id == allGPUs && kind != sched.GPUWish{}:
			return fmt.Errorf("all GPUs of a host are asked for, and which ones: say how many instead of %q", allGPUs)
		case id == allGPUs:
			r.AllGPUs = true
			continue
		case cardIndex.MatchString(id):
			one.Index = id
		case cardUUID.MatchString(id):
			one.UUID = id
		default:
			return fmt.Errorf("%q is no GPU: name one by its UUID or its index, see \"ddocker nvidia-smi\", or all by %q", id, allGPUs)
		}
		if !slices.Contains(r.GPUs, one) {
			r.GPUs = append(r.GPUs, one)
		}
	}
	return nil
}

// runtimeWish is what a body says to NVIDIA's runtime, which looks at the environment
// and not at device requests.
type runtimeWish struct {
	Env        []string
	HostConfig struct{ Runtime string }
}

// devices returns the cards that the environment names. Not told: it names none, not
// even no card.
func (w *runtimeWish) devices(env []string) (ids []string, told bool) {
	if w.HostConfig.Runtime != engine.RuntimeNVIDIA {
		return nil, false
	}
	for _, variable := range slices.Backward(env) { // the last one counts
		if name, value, _ := strings.Cut(variable, "="); name == engine.VisibleDevices {
			switch value {
			case "", "none", "void":
				return nil, true
			}
			return strings.Split(value, ","), true
		}
	}
	return nil, false
}

// askRuntime has what was said to NVIDIA's runtime count as a device request would, so
// that the ledger decides it, unless a type or a device request says which cards. As to
// the runtime, the image's environment stands below the container's.
func (a *API) askRuntime(ctx context.Context, said *runtimeWish, w *wish) {
	if said.HostConfig.Runtime != engine.RuntimeNVIDIA || len(w.HostConfig.DeviceRequests) > 0 || w.Labels[labelType] != "" {
		return
	}
	ids, told := said.devices(said.Env)
	if !told {
		ids, _ = said.devices(a.imageConfig(ctx, w.Image).Env)
	}
	if len(ids) > 0 {
		w.HostConfig.DeviceRequests = []deviceWish{{Driver: driverNVIDIA, DeviceIDs: ids}}
	}
}

// findCards completes UUIDs of which only the beginning is given, as NVIDIA's tools do.
// What no card begins with stays: it may be one that a host is about to tell of.
func (a *API) findCards(r *sched.Request) (err error) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for i := range r.GPUs {
			if w := &r.GPUs[i]; w.UUID != "" && err == nil {
				w.UUID, err = findCard(l.Hosts(), w.UUID)
			}
		}
	})
	return err
}

func findCard(hosts []*sched.Host, begin string) (uuid string, err error) {
	var found, where []string
	for _, h := range hosts {
		for i := range h.Cards {
			switch card := &h.Cards[i]; {
			case card.UUID == begin:
				return begin, nil
			case strings.HasPrefix(card.UUID, begin) && !slices.Contains(found, card.UUID):
				found = append(found, card.UUID)
				where = append(where, card.UUID+" of "+h.Name)
			}
		}
	}
	switch {
	case len(found) > 1:
		return "", fmt.Errorf("GPU %s may be %s: give more of its UUID", begin, strings.Join(where[:min(len(where), 4)], ", "))
	case len(found) == 1:
		return found[0], nil
	}
	return begin, nil
}
