package api

import (
	"encoding/json"
	"fmt"
	"strings"

	"ddocker/sched"
)

// typeWords says what a container holds as the TYPE column has it, such as
// "12 cpus,64g mem,1 TITAN Xp".
func typeWords(g *sched.Grant, wishes []sched.GPUWish) string {
	var words []string
	if n := g.Cores.Count(); n > 0 {
		words = append(words, fmt.Sprintf("%d cpus", n))
	} else if g.MilliCPU > 0 {
		words = append(words, fmt.Sprintf("%g cpus", float64(g.MilliCPU)/sched.Core))
	}
	if g.Memory > 0 {
		words = append(words, short(g.Memory)+" mem")
	}
	words = append(words, gpuWords(len(g.GPUs), wishes)...)
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ",")
}

// gpuWords says what n granted cards were asked for, those that are alike together.
func gpuWords(n int, wishes []sched.GPUWish) (words []string) {
	var kinds []string
	count := map[string]int{}
	for i := range n {
		kind := "gpus"
		if i < len(wishes) {
			kind = kindWords(wishes[i])
		}
		if count[kind]++; count[kind] == 1 {
			kinds = append(kinds, kind)
		}
	}
	for _, kind := range kinds {
		words = append(words, fmt.Sprintf("%d %s", count[kind], kind))
	}
	return words
}

// kindWords says which cards will do, in the words of --gpus.
func kindWords(w sched.GPUWish) string {
	words := "gpus"
	switch {
	case w.Profile != "" && w.Model != "":
		words = w.Model + " MIG " + w.Profile
	case w.Profile != "":
		words = "MIG " + w.Profile
	case w.Model != "":
		words = w.Model
	}
	if w.Memory > 0 {
		words += " mem>=" + short(w.Memory)
	}
	return words
}

// short writes bytes as docker's -m reads them, such as "64g".
func short(n int64) string {
	number, unit, _ := strings.Cut(sched.Bytes(n), " ")
	return number + strings.ToLower(unit[:1])
}

// portWords writes the granted ports as docker does, "0.0.0.0:25000->25000/tcp".
func portWords(g *sched.Grant) []string {
	words := []string{}
	for _, b := range g.Ports {
		ip := b.IP
		if ip == "" {
			ip = "0.0.0.0"
		}
		words = append(words, fmt.Sprintf("%s:%d->%d/%s", ip, b.Host, b.Container, b.Proto))
	}
	return words
}

// listedPorts writes the ports of a row of the engine's own list.
func listedPorts(field json.RawMessage) []string {
	var ports []struct {
		IP                      string
		PrivatePort, PublicPort uint16
		Type                    string
	}
	json.Unmarshal(field, &ports)
	words := []string{}
	for _, p := range ports {
		if p.PublicPort != 0 {
			words = append(words, fmt.Sprintf("%s:%d->%d/%s", p.IP, p.PublicPort, p.PrivatePort, p.Type))
		}
	}
	return words
}
