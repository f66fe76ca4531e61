package gpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// interval is how often the child reads the cards.
const interval = time.Second

// report is one line of the child.
type report struct {
	Cards []Card `json:"cards"`
	// Error is what could not be read.
	Error string `json:"error,omitempty"`
	// Absent says that the host has no NVML, so that there is nothing to read.
	Absent bool `json:"absent,omitempty"`
}

// Child is the whole work of the child process: it writes one line of JSON a
// second until w refuses it, as a pipe does whose reader is gone. Without an
// NVML library it writes that one fact and returns nil. It may end the process:
// see the package comment.
func Child(w io.Writer) error {
	return watch(nvml.New(), w)
}

func watch(lib nvml.Interface, w io.Writer) error {
	out := json.NewEncoder(w)
	switch ret := lib.Init(); ret {
	case nvml.SUCCESS:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		// Any further call would end the process.
		return out.Encode(report{Cards: []Card{}, Absent: true})
	default:
		return giveUp(out, fmt.Errorf("start NVML: %w", ret))
	}
	for {
		r, err := read(lib)
		if err != nil {
			return giveUp(out, err) // a fresh process finds a driver that was reloaded
		}
		if err := out.Encode(r); err != nil {
			return fmt.Errorf("write cards: %w", err)
		}
		<-time.NewTimer(interval).C
	}
}

// giveUp tells the reader why, and returns the error.
func giveUp(out *json.Encoder, err error) error {
	return errors.Join(err, out.Encode(report{Error: err.Error()}))
}

// read takes one sample of every card. A card that fails is left out.
func read(lib nvml.Interface) (report, error) {
	n, ret := lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return report{}, fmt.Errorf("count cards: %w", ret)
	}
	r := report{Cards: make([]Card, 0, n)}
	for i := range n {
		card, err := readCard(lib, i)
		if err != nil {
			r.Error = fmt.Sprintf("card %d: %v", i, err)
			continue
		}
		r.Cards = append(r.Cards, card)
	}
	return r, nil
}

func readCard(lib nvml.Interface, index int) (Card, error) {
	device, ret := lib.DeviceGetHandleByIndex(index)
	if ret != nvml.SUCCESS {
		return Card{}, fmt.Errorf("open: %w", ret)
	}
	uuid, ret := device.GetUUID()
	if ret != nvml.SUCCESS {
		return Card{}, fmt.Errorf("read UUID: %w", ret)
	}
	model, ret := device.GetName()
	if ret != nvml.SUCCESS {
		return Card{}, fmt.Errorf("read model: %w", ret)
	}
	card := Card{UUID: uuid, Index: strconv.Itoa(index), Model: model, NUMA: Unread}
	sample(device, &card)
	return card, nil
}

// sample fills in the readings that the card offers.
func sample(device nvml.Device, card *Card) {
	if memory, ret := device.GetMemoryInfo(); ret == nvml.SUCCESS {
		card.Memory, card.Used = int64(memory.Total), int64(memory.Used)
	}
	if rates, ret := device.GetUtilizationRates(); ret == nvml.SUCCESS {
		card.Utilization = int(rates.Gpu)
	}
	if degrees, ret := device.GetTemperature(nvml.TEMPERATURE_GPU); ret == nvml.SUCCESS {
		card.Temperature = int(degrees)
	}
	if milliwatts, ret := device.GetPowerUsage(); ret == nvml.SUCCESS {
		card.Power = int(milliwatts)
	}
}
