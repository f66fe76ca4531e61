package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// grammar is what nvidia-smi, or one of its commands, may be given.
type grammar struct {
	alone  []string // flags without a value
	valued []string // flags with one: the next argument, or after "="
	joined []string // flags whose name goes on as it likes, up to a "=" and its value
	// counted says that it goes on for ever but with "-c N".
	counted bool
}

// smiGrammars are the commands of nvidia-smi that read; "" is that without a
// command. Whatever is in none of them is refused, so that an option of tomorrow is
// no hole.
var smiGrammars = map[string]grammar{
	"": {
		alone: []string{
			"-h", "--help", "--version", "-L", "--list-gpus", "-B", "--list-excluded-gpus", "--list-blacklist-gpus",
			"-q", "--query", "-u", "--unit", "-x", "--xml-format", "--dtd",
		},
		valued: []string{"-i", "--id", "-d", "--display", "--format"},
		joined: []string{"--query-", "--help-query-"},
	},
	"topo": {
		alone:  []string{"-h", "--help", "-m", "--matrix", "-mp", "--matrix_pci"},
		valued: []string{"-i", "--id", "-c", "--cpu", "-n", "--nearest_gpus", "-p", "--gpu_path", "-p2p", "--p2pstatus"},
	},
	"nvlink": {
		alone:  []string{"-h", "--help", "-s", "--status", "-c", "--capabilities", "-p", "--pcibusid", "-R", "--remotelinkinfo", "-e", "--errorcounters"},
		valued: []string{"-i", "--id", "-l", "--link"},
	},
	"mig": {
		alone:  []string{"-h", "--help", "-lgi", "--list-gpu-instances", "-lci", "--list-compute-instances", "-lgip", "--list-gpu-instance-profiles", "-lcip", "--list-compute-instance-profiles", "-lgipp", "--list-gpu-instance-possible-placements", "-lcipp", "--list-compute-instance-possible-placements"},
		valued: []string{"-i", "--id", "-gi", "--gpu-instance-id"},
	},
	"pmon": {
		alone:   []string{"-h", "--help"},
		valued:  []string{"-i", "--id", "-c", "--count", "-d", "--delay", "-s", "--select", "-o", "--options"},
		counted: true,
	},
	"dmon": {
		alone:   []string{"-h", "--help"},
		valued:  []string{"-i", "--id", "-c", "--count", "-d", "--delay", "-s", "--select", "-o", "--options"},
		counted: true,
	},
}

// reading says whether nvidia-smi with these arguments only reads, and ends. Among
// those that do not, some go on for ever, and -f writes to a file as root.
func reading(args []string) error {
	command, rest := "", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, rest = args[0], args[1:]
	}
	g, known := smiGrammars[command]
	if !known {
		return refuse(command)
	}
	ends := !g.counted
	for len(rest) > 0 {
		taken, value := g.take(rest)
		if taken == 0 {
			return refuse(strings.TrimPrefix(command+" "+rest[0], " "))
		}
		switch flag, _, _ := strings.Cut(rest[0], "="); flag {
		case "-c", "--count":
			n, err := strconv.Atoi(value)
			ends = ends || err == nil && n > 0
		case "-h", "--help":
			ends = true
		}
		rest = rest[taken:]
	}
	if !ends {
		return fmt.Errorf("%w: nvidia-smi %s does not end by itself: add -c with a count", ErrRefused, command)
	}
	return nil
}

// take returns how many arguments the first flag is, with its value; 0: it may not be.
func (g grammar) take(args []string) (n int, value string) {
	flag, value, has := strings.Cut(args[0], "=")
	switch {
	case !has && slices.Contains(g.alone, flag):
		return 1, ""
	case slices.ContainsFunc(g.joined, func(start string) bool { return strings.HasPrefix(flag, start) }):
		return 1, value
	case !slices.Contains(g.valued, flag):
		return 0, ""
	case has:
		return 1, value
	case len(args) > 1 && !strings.HasPrefix(args[1], "-"):
		return 2, args[1]
	}
	return 0, ""
}

func refuse(what string) error {
	hint := ""
	switch what {
	case "-l", "--loop", "-lms", "--loop-ms":
		hint = "; ddocker nvidia-smi has its own -l"
	}
	return fmt.Errorf("%w: nvidia-smi %s may change the card, write a file or never end: log in on the host for it%s", ErrRefused, what, hint)
}
