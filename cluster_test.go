package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

func TestClusterOfOneGrowsByTokenAndVotersFollowTheRule(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 5, 7} {
		t.Run(fmt.Sprint(n, " machines"), func(t *testing.T) {
			inCluster(t, n, func(t *testing.T, w *world) { w.alike() })
		})
	}
}

func TestClusterRefusesAJoinInOneSentence(t *testing.T) {
	t.Parallel()
	for why, c := range map[string]struct {
		name, want string
		token      func(w *world, good string) string
	}{
		"a mistyped token": {"n9", "^mistyped join token: .* `ddocker token`$", func(_ *world, good string) string {
			return good[:len(good)-1] + string(rune('a'+(good[len(good)-1]-'a'+1)%26))
		}},
		"no token": {"n9", `^to join 10.0.0.1 a token is needed: run "ddocker token" there and give it with --token$`,
			func(*world, string) string { return "" }},
		"another cluster's token": {"n9", "^join the cluster of 10.0.0.1: .*belongs to another cluster than the token$",
			func(w *world, _ string) string {
				w.hosts[1].start()
				return w.hosts[1].token()
			}},
		"an expired token": {"n9", `^join the cluster of 10.0.0.1: the join token expired at .*: print a new one with "ddocker token" on any host of the cluster$`,
			func(w *world, _ string) string {
				var made struct{ Token string }
				if err := w.hosts[0].post("/ddocker/tokens?life=10s", &made); err != nil {
					w.t.Fatal(err)
				}
				time.Sleep(time.Minute)
				return made.Token
			}},
		"a taken name": {"n1", "^join the cluster of 10.0.0.1: a node named n1 is already in the cluster, at 10.0.0.1:7722: start this one with another --name$",
			func(_ *world, good string) string { return good }},
	} {
		t.Run(why, func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				w.hosts[0].start()
				token := c.token(w, w.hosts[0].token())
				late := w.hosts[2]
				late.start(joining(w.hosts[0], token), func(cfg *agentConfig) { cfg.Name = c.name })
				if said := late.refused(); !regexp.MustCompile(c.want).MatchString(said) {
					t.Errorf("%s: the joiner says %q, want %q", why, said, c.want)
				}
			})
		})
	}
}

func TestAnyMachineCreatesAndAnyMachineListsWhatIsThere(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		var names []string
		made := map[string]string{}
		for i, h := range w.hosts {
			name := fmt.Sprintf("c%d", i)
			made[name] = h.mustRun(wanted{name: name, ports: 2})
			names = append(names, name)
		}
		for _, h := range w.hosts {
			if got := h.list(); !slices.Equal(got, names) {
				t.Errorf("%s lists %v, want %v", h.name, got, names)
			}
		}
		if got, want := hostPorts(w.hosts[0].placements()), count(25000, 10); !slices.Equal(got, want) {
			t.Errorf("ports %v were granted, want %v: from the first up, none twice in the cluster", got, want)
		}
		if _, err := w.hosts[4].create(w.soon(), wanted{name: "c0"}); err == nil || !strings.Contains(err.Error(), `The container name "/c0" is already in use`) {
			t.Errorf("a second c0 is answered with %v", err)
		}
		w.judge(made)
	})
}

func TestAnOffNightWithNewAddressesForAllIsTheSameCluster(t *testing.T) {
	for how, from := range map[string]func(w *world, i int) func(*agentConfig){
		"one machine is where it was": func(*world, int) func(*agentConfig) { return func(*agentConfig) {} },
		"one machine is told of": func(w *world, i int) func(*agentConfig) {
			return func(cfg *agentConfig) {
				if i > 0 {
					cfg.Join = w.hosts[0].ip
				}
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			inCluster(t, 5, func(t *testing.T, w *world) {
				made := map[string]string{"before": w.hosts[1].mustRun(wanted{name: "before", ports: 1})}
				cluster := w.hosts[0].inside().id.Cluster()
				for _, h := range w.hosts {
					h.stop()
				}
				time.Sleep(9 * time.Hour)
				for i, h := range w.hosts {
					if i > 0 || how == "one machine is told of" {
						h.ip = fmt.Sprintf("10.0.7.%d", i+1)
					}
				}
				for i, h := range w.hosts {
					h.start(from(w, i))
				}
				w.whole()
				made["after"] = w.hosts[2].mustRun(wanted{name: "after", ports: 1})
				if got := w.hosts[3].inside().id.Cluster(); got != cluster {
					t.Errorf("it is cluster %s now, was %s", got, cluster)
				}
				w.eventually("the ledger knows the new addresses", func() bool { return w.hosts[4].knowsAddresses() })
				w.judge(made)
			})
		})
	}
}

func count(from, n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = from + i
	}
	return list
}

func (h *host) knowsAddresses() (all bool) {
	h.inside().log.View(func(l *ledger.Ledger) {
		all = !slices.ContainsFunc(h.of.hosts, func(o *host) bool { return l.NodeNamed(o.name).Address != o.ip+":7722" })
	})
	return all
}
