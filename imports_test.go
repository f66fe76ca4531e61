package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// unit is one package of this module, as go list tells of it.
type unit struct {
	ImportPath                                   string
	Dir                                          string
	GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports           []string // Imports are those of the program's own files
}

// room is the package's path in the module; "" is the root.
func (u unit) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(u.ImportPath, module), "/")
}

const module = "ddocker"

// rule forbids packages to import others. Patterns are paths that cover what lies
// below them; "std" is the standard library, "ddocker/..." every package of this module.
type rule struct {
	rooms  []string // whom it holds
	except []string // whom of those it does not
	never  []string // what they may not import
	but    []string // what of that they may
	why    string
}

// houseRules is HOUSE.md's list of what must never be.
var houseRules = []rule{
	{
		rooms: []string{"sched", "consensus/ledger"},
		never: []string{"net", "os", "log", "sync", "math/rand", "crypto/rand", "syscall", "runtime", "context"},
		why:   "every replica must come to the same answer: no I/O, no locks, no chance",
	},
	{
		rooms: []string{"sched"},
		never: []string{"..."}, but: []string{"std"},
		why: "the arithmetic of placement needs nothing but the standard library",
	},
	{
		rooms: []string{"cli"},
		never: []string{"ddocker/..."}, but: []string{"ddocker/cli"},
		why: "whatever the command line can do, any client of the API can do: it speaks HTTP alone",
	},
	{
		rooms: []string{"settings"},
		never: []string{"net", "os", "log", "github.com/docker"}, but: []string{"net/netip"},
		why: "settings are text and values: they are read in the ledger's neighbourhood",
	},
	{
		rooms: []string{"node"},
		never: []string{"net/http", "ddocker/api", "ddocker/web", "ddocker/cli"},
		why:   "the agent's verbs know nothing of how they are asked for",
	},
	{
		rooms: []string{"api", "web"},
		never: []string{"ddocker/node"},
		why:   "api, web and node meet in agent.go, through interfaces of the one who asks",
	},
	{
		rooms: []string{"..."}, except: []string{"consensus", "test/bench"},
		never: []string{"github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb", "go.etcd.io/bbolt"},
		why:   "raft is consensus' business alone",
	},
	{
		rooms: []string{"..."}, except: []string{"gossip"},
		never: []string{"github.com/hashicorp/memberlist"},
		why:   "memberlist is gossip's business alone",
	},
	{
		rooms: []string{"..."}, except: []string{"gpu"},
		never: []string{"github.com/NVIDIA"},
		why:   "one NVML call too many ends the process: it stays in gpu's child",
	},
	{
		rooms: []string{"..."}, except: []string{"engine", "api", "cli", "test"},
		never: []string{"github.com/docker/docker", "github.com/docker/cli", "github.com/moby/moby"},
		why:   "Docker's types change with Docker: only engine, api and cli follow them",
	},
	{
		rooms: []string{"..."}, except: []string{"test"},
		never: []string{"testing", "ddocker/test", "ddocker/engine/enginetest", "ddocker/gpu/gputest"},
		why:   "what is there for tests is no part of the program",
	},
}

// floors orders the rooms: an import goes down only. The longest path counts.
var floors = map[string]int{
	"":                 5,
	"node":             4,
	"api":              4,
	"web":              4,
	"audit":            3,
	"consensus":        3,
	"gossip":           3,
	"engine":           3,
	"gpu":              3,
	"image":            3,
	"relay":            3,
	"identity":         3,
	"consensus/ledger": 2,
	"sched":            1,
	"settings":         1,
	"crash":            1,
	"cli":              1,
}

// breaches holds one package to every rule and to the floors.
func breaches(u unit, rules []rule, floors map[string]int) []string {
	var found []string
	for _, r := range rules {
		if !covers(r.rooms, u.room()) || covers(r.except, u.room()) {
			continue
		}
		for _, path := range u.Imports {
			if covers(r.never, path) && !covers(r.but, path) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", u.ImportPath, path, r.why))
			}
		}
	}
	return append(found, climbs(u, floors)...)
}

// climbs tells of imports that do not go down. Test rooms and test twins are no part of the house.
func climbs(u unit, floors map[string]int) []string {
	if covers([]string{"test"}, u.room()) {
		return nil
	}
	room, from := floorOf(u.room(), floors)
	if from == 0 {
		return []string{u.ImportPath + " is on no floor: a new room needs a noun of its own, two importers and a place in floors"}
	}
	var found []string
	for _, path := range u.Imports {
		if path != module && !strings.HasPrefix(path, module+"/") {
			continue
		}
		other, to := floorOf(strings.TrimPrefix(strings.TrimPrefix(path, module), "/"), floors)
		if other != room && to >= from {
			found = append(found, fmt.Sprintf("%s (floor %d) imports %s (floor %d): an import goes down only", u.ImportPath, from, path, to))
		}
	}
	return found
}

// floorOf finds the room that a path is in, and its floor; 0 when it is in none.
func floorOf(path string, floors map[string]int) (room string, floor int) {
	for at := path; at != ""; {
		if floor, ok := floors[at]; ok {
			return at, floor
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return path, 0
		}
		at = at[:i]
	}
	return "", floors[""]
}

func covers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		switch p {
		case "...":
			return true
		case "std":
			first, _, _ := strings.Cut(path, "/")
			return first != module && !strings.Contains(first, ".")
		case "ddocker/...":
			return path == module || strings.HasPrefix(path, module+"/")
		}
		return path == p || strings.HasPrefix(path, p+"/")
	})
}

// units lists this module's packages.
func units(t *testing.T) []unit {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	var all []unit
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var u unit
		if err := d.Decode(&u); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
}

func TestHouseImportsGoDownAndNeverAcross(t *testing.T) {
	all := units(t)
	if len(all) < 10 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	for _, u := range all {
		for _, b := range breaches(u, houseRules, floors) {
			t.Error(b)
		}
	}
}

// Each rule catches what it is there for, and lets its neighbour pass.
func TestHouseRulesCanFail(t *testing.T) {
	for _, c := range []struct {
		room, imports string
		breaks        bool
	}{
		{"sched", "slices", false},
		{"sched", "net/netip", true},
		{"sched", "math/rand/v2", true},
		{"sched", "github.com/docker/go-units", true},
		{"sched", "ddocker/settings", true},
		{"consensus/ledger", "ddocker/sched", false},
		{"consensus/ledger", "sync/atomic", true},
		{"consensus/ledger", "log/slog", true},
		{"consensus/ledger", "os", true},
		{"cli", "net/http", false},
		{"cli", "github.com/docker/docker/client", false},
		{"cli", "ddocker/settings", true},
		{"cli", "ddocker", true},
		{"gossip", "ddocker/consensus", true},
		{"gossip", "ddocker/consensus/ledger", false},
		{"identity", "ddocker/gpu", true},
		{"engine", "github.com/docker/docker/client", false},
		{"gpu", "github.com/docker/docker/api/types", true},
		{"gpu", "github.com/NVIDIA/go-nvml/pkg/nvml", false},
		{"node", "github.com/NVIDIA/go-nvml/pkg/nvml", true},
		{"node", "net/http", true},
		{"node", "ddocker/engine", false},
		{"node", "ddocker/api", true},
		{"api", "ddocker/node", true},
		{"api", "ddocker/api/options", false},
		{"api/options", "ddocker/node", true},
		{"consensus", "github.com/hashicorp/raft-boltdb/v2", false},
		{"consensus", "github.com/hashicorp/raft", false},
		{"node", "github.com/hashicorp/raft", true},
		{"consensus", "github.com/hashicorp/memberlist", true},
		{"", "ddocker/api", false},
		{"api", "ddocker", true},
		{"gossip", "ddocker/test/vnet", true},
		{"cellar", "fmt", true},
		{"test/lab", "testing", false},
	} {
		path := module
		if c.room != "" {
			path += "/" + c.room
		}
		u := unit{ImportPath: path, Imports: []string{c.imports}}
		if got := breaches(u, houseRules, floors); (len(got) > 0) != c.breaks {
			t.Errorf("%q importing %s: got %q", c.room, c.imports, got)
		}
	}
}
