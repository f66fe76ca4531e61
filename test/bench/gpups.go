package main

import (
	"context"
	"fmt"
	"log/slog"

	"ddocker/api"
	"ddocker/gpu"
	"ddocker/sched"
)

const (
	// gpusPerHost are the cards of each host, every one with a container.
	gpusPerHost = 8
	// gpuBusy is how busy each of them is, in per cent.
	gpuBusy = 42
	// slowGPUs is how much longer a list may take where there are GPUs.
	slowGPUs = 1.2
)

// gpuPs measures what GPUs add to the list of containers: two fleets that differ in
// nothing else take turns. Every host answers through its own agent.
func (b *bench) gpuPs(ctx context.Context) error {
	b.say("measuring %s", rowGPUPs)
	var took [2]sample
	var fleets [2]*fleet
	for i, gpus := range []int{0, gpusPerHost} {
		f, err := newFleet(ctx, gpus)
		if err != nil {
			return err
		}
		defer f.stop()
		f.behindAgents()
		fleets[i] = f
	}
	for i := range 3*b.n + 1 {
		for side, f := range fleets {
			if err := f.ps(&took[side]); err != nil {
				return err
			}
		}
		if i == 0 { // to warm up
			took = [2]sample{}
		}
	}
	told := fmt.Sprintf(`"Utilization":%d`, gpuBusy)
	if err := fleets[1].list(new(sample), "/v1.41/containers/json?all=1", told, manyHosts*gpusPerHost); err != nil {
		return err
	}
	what := fmt.Sprintf("docker ps -a, %d hosts × %d containers: with ÷ without %d GPUs a host", manyHosts, perHost, gpusPerHost)
	b.ratio(what, took[1], took[0], slowGPUs)
	return nil
}

// behindAgents has every host answer through an agent, which knows the host's cards.
func (f *fleet) behindAgents() {
	for _, s := range f.hosts {
		s.agent = api.New(api.Config{
			Self: s.id, Name: s.name, Version: "bench", Log: f.log, Engine: s.engine, Logger: slog.New(slog.DiscardHandler),
			EngineImage: func(_ context.Context, id string) string { return id }, GPUs: s.state(f.gpus),
		}).Local()
	}
}

// cards are the first n cards of the host as the ledger has them.
func (s *mocked) cards(n int) (cards []sched.Card) {
	for i := range n {
		cards = append(cards, sched.Card{UUID: fmt.Sprintf("GPU-%s-0000-0000-%012x", s.id, i), Index: fmt.Sprint(i), Model: "NVIDIA TITAN Xp"})
	}
	return cards
}

// state returns what the host's driver says of its first n cards.
func (s *mocked) state(n int) func() gpu.State {
	state := gpu.State{Known: true}
	for _, c := range s.cards(n) {
		state.Cards = append(state.Cards, gpu.Card{UUID: c.UUID, Index: c.Index, Model: c.Model, Utilization: gpuBusy})
	}
	return func() gpu.State { return state }
}
