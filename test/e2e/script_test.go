package e2e

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestScripts(t *testing.T) {
	testscript.RunT(serial{t}, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: false,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, shared.Env()...)
			env.Vars = append(env.Vars,
				"LAB_SCRIPT="+shared.Script(),
				"DDOCKER_BIN="+os.Getenv("DDOCKER_BIN"),
				"DIR="+shared.Dir,
				"C1="+shared.Host(1).Agent(),
				"C2="+shared.Host(2).Agent(),
				"C3="+shared.Host(3).Agent(),
				"USER=alice",
				"TERM=xterm",
			)
			return nil
		},
	})
}

// serial runs script after script, as they share the lab.
type serial struct{ *testing.T }

func (serial) Parallel()     {}
func (serial) Verbose() bool { return testing.Verbose() }

func (s serial) Run(name string, script func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) {
		bare(t)
		script(serial{t})
	})
}
