package sched

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxWishes bounds the cards that one request asks for: no host has more than 16 GPUs,
	// each cut into 7 MIG devices.
	maxWishes = 128
	// maxWords bounds the bytes that say which: no name or UUID of NVIDIA's is longer.
	maxWords = 96
	// shownGPUs bounds how many different cards are named in words.
	shownGPUs = 8
)

// Request is what one container asks of a host.
type Request struct {
	// MilliCPU is in thousandths of a core. A multiple of 1000 asks for whole
	// cores, which are pinned; anything else is a quota on the shared ones; 0
	// shares them without a limit.
	MilliCPU int64 `json:",omitempty"`
	// Cores asks for these very cores, pinned; then MilliCPU is ignored.
	Cores CPUSet `json:",omitzero"`
	// Memory is in bytes; 0: no limit, and nothing is held.
	Memory int64 `json:",omitempty"`
	// GPUs has one wish a card.
	GPUs []GPUWish `json:",omitempty"`
	// AllGPUs asks for every card of a host that has at least one, all of them free.
	AllGPUs bool       `json:",omitempty"`
	Ports   []PortWish `json:",omitempty"`
	// Host restricts the request to the host of this name or ID; empty: any.
	Host string `json:",omitempty"`
	// HostReason says why Host is the only one, for refusals.
	HostReason string `json:",omitempty"`
	// Only are rules that the host must meet, each of them.
	Only []Rule `json:",omitempty"`
	// Prefer are rules that count when hosts are ordered. They decide nothing, and
	// are not written down.
	Prefer []Rule `json:"-"`
}

// Rule is a choice of hosts.
type Rule struct {
	// Words are the rule as it was given, such as "constraint:node==gpu*".
	Words string
	// Hosts are the IDs of the hosts that meet it, ascending.
	Hosts []string
}

func (r Rule) meets(h *Host) bool {
	_, ok := slices.BinarySearch(r.Hosts, h.ID)
	return ok
}

// GPUWish asks for one card that meets all that is said: the zero wish is for any
// whole GPU.
type GPUWish struct {
	// Model is as SameModel reads it.
	Model string `json:",omitempty"`
	UUID  string `json:",omitempty"`
	// Index is the card's number on whatever host it is, "0" or "0:1".
	Index string `json:",omitempty"`
	// Memory is how many bytes the card has at least.
	Memory int64 `json:",omitempty"`
	// Profile asks for a MIG device of this profile, such as "3g.40gb".
	Profile string `json:",omitempty"`
}

// PortWish asks for one port of the host.
type PortWish struct {
	// IP is the address of the host to bind; empty: all.
	IP string `json:",omitempty"`
	// Host is the wanted port of the host; 0: the cluster chooses.
	Host uint16 `json:",omitempty"`
	// Container is the port behind it; 0: the same number as the host's.
	Container uint16 `json:",omitempty"`
	Proto     string
}

// Check returns an error where the request makes no sense on any host, such as
// a negative amount, which would free what others hold. Fit relies on it.
func (r *Request) Check() error {
	if r.MilliCPU < 0 || r.Memory < 0 {
		return errors.New("an amount of CPU or memory cannot be negative")
	}
	if len(r.GPUs) > maxWishes {
		return fmt.Errorf("nobody can have %d GPUs: the limit is %d", len(r.GPUs), maxWishes)
	}
	for i := range r.GPUs {
		if err := r.GPUs[i].check(); err != nil {
			return err
		}
	}
	for _, p := range r.Ports {
		if p.Proto != "tcp" && p.Proto != "udp" && p.Proto != "sctp" {
			return fmt.Errorf("the protocol of a port is tcp, udp or sctp, not %q", p.Proto)
		}
	}
	return nil
}

func (w *GPUWish) check() error {
	switch {
	case w.Memory < 0:
		return errors.New("the memory of a GPU cannot be negative")
	case strings.Trim(w.Index, "0123456789:") != "":
		return fmt.Errorf("a GPU's index is a number such as 0, or 0:1 for a MIG device, not %q", w.Index)
	case strings.Trim(strings.ToLower(w.Profile), "abcdefghijklmnopqrstuvwxyz0123456789.+-") != "":
		return fmt.Errorf("a MIG profile is such as 3g.40gb, not %q", w.Profile)
	case max(len(w.Model), len(w.UUID), len(w.Index), len(w.Profile)) > maxWords:
		return fmt.Errorf("what is asked of a GPU is longer than %d bytes", maxWords)
	}
	return nil
}

// Pinned returns how many whole cores the request asks to have for itself; 0
// for a fraction or none.
func (r *Request) Pinned() int {
	if n := r.Cores.Count(); n > 0 {
		return n
	}
	if r.MilliCPU%Core != 0 {
		return 0
	}
	return int(r.MilliCPU / Core)
}

// Thousandths returns what of a core Docker's NanoCpus are, rounded up.
func Thousandths(nanoCPUs int64) int64 { return (nanoCPUs + 1e6 - 1) / 1e6 }

// QuotaThousandths returns what of a core a quota of a period is, both in
// microseconds, rounded up. No period is the kernel's own.
func QuotaThousandths(quota, period int64) int64 {
	if period <= 0 {
		period = 100_000
	}
	return (quota*Core + period - 1) / period
}

// anything is the words for a request that asks for nothing in particular.
const anything = "a container"

// String says what is asked for in the words of a person, such as
// "12 cores, 64 GB, 2× TITAN Xp".
func (r *Request) String() string {
	var parts []string
	if cpu := r.Cores.String(); cpu != "" {
		parts = append(parts, "cores "+cpu)
	} else if r.MilliCPU > 0 {
		parts = append(parts, cores(r.MilliCPU))
	}
	if r.Memory > 0 {
		parts = append(parts, Bytes(r.Memory))
	}
	parts = append(parts, r.gpuWords()...)
	for _, p := range r.Ports {
		if p.Host != 0 {
			parts = append(parts, fmt.Sprintf("port %d/%s", p.Host, p.Proto))
		}
	}
	if len(parts) == 0 {
		return anything
	}
	return strings.Join(parts, ", ")
}

func (r *Request) gpuWords() []string {
	if r.AllGPUs {
		return []string{"all GPUs"}
	}
	var words []string
	left := slices.Clone(r.GPUs)
	for len(left) > 0 {
		if len(words) == shownGPUs {
			return append(words, fmt.Sprintf("%d more GPUs", len(left)))
		}
		w, before := left[0], len(left)
		left = slices.DeleteFunc(left, w.alike)
		if n := before - len(left); n == 1 && w.single() {
			words = append(words, w.words())
		} else {
			words = append(words, gpus(int64(n), w.words()))
		}
	}
	return words
}

func cores(milli int64) string {
	if milli == Core {
		return "1 core"
	}
	return trimZeros(fmt.Sprintf("%d.%03d", milli/Core, milli%Core)) + " cores"
}

func gpus(n int64, model string) string {
	if model == "" {
		model = "GPU"
	}
	return fmt.Sprintf("%d× %s", n, model)
}

// Bytes writes a number of bytes in binary units as Docker's -m reads them,
// such as "64 GB" for 64 GiB; the largest unit that keeps two decimals true.
func Bytes(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{40, "TB"}, {30, "GB"}, {20, "MB"}, {10, "kB"}} {
		if n >= 1<<u.shift {
			hundredths := n>>u.shift*100 + n&(1<<u.shift-1)*100>>u.shift
			return trimZeros(fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100)) + " " + u.name
		}
	}
	return fmt.Sprintf("%d B", n)
}

func trimZeros(s string) string { return strings.TrimRight(strings.TrimRight(s, "0"), ".") }
