// Package sched is placement arithmetic: what a host has, what a container
// asks for, and whether and where the one fits the other.
//
//	hosts, misfit := sched.Pick(all, loads, &request, 5) // best first
//	if misfit != nil {
//		return misfit // says what each host lacks
//	}
//	grant, lack, ok := sched.Allot(hosts[0], &request, firstPort, nil)
//	if ok {
//		hosts[0].Held.Add(grant)
//	}
//
// Fit is the one rule of what fits. The planner that orders hosts and the
// replicated ledger that grants resources both call it, so a host that one of
// them accepts the other accepts too, as far as both see the same holdings.
//
// Whole cores are pinned: a container that asks for two cores gets two core
// numbers that nobody else gets. Fractions are a quota on the cores that are
// not pinned, shared by all containers that have no cores of their own; this is
// the rule of Kubernetes' static CPU manager.
//
// The package is pure: standard library only, no clock, no I/O, no randomness.
package sched
