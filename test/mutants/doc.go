// Command mutants plants defects in the program, one at a time and in none of its files,
// and has the tests find them:
//
//	go run ./test/mutants              # all: "make mutants"
//	go run ./test/mutants -only port   # those whose names have "port" in them
//	go run ./test/mutants -only ./node # those that are caught there
//
// The defects are those that people make: a port that is free too early, a request that is
// carried out twice. Each says which promise it breaks, and which test has to fail. One
// that no test sees is a test that is missing.
//
// list/*.txt has them, as blocks of lines:
//
//	mutant  port-free-early
//	is      what is wrong then, in one line
//	breaks  I1
//	caught  ./node ^TestName$ -short
//	file    node/release.go
//	<<<<
//	whole lines of the file, which are there exactly once
//	====
//	what stands there instead
//	>>>>
//
// A mutant may have several files, and several changes in one. Invariants are I1 to I7 of
// the faults that the cluster is held to:
//
//	I1  no port, core, GPU or name is held twice on a host
//	I2  a create that was acknowledged exists, or is listed as lost
//	I3  nothing is left over a minute after a crash
//	I4  all replicas are equal when all is whole again
//	I5  the history of reservations is linearizable
//	I6  a change of leader or a restart of an agent stops no container
//	I7  memory is bounded
//
// and anything else that is broken is named in one word. What follows "caught" is a package,
// a pattern of its tests, and flags for them; or "sim" and how many schedules of test/sim.
package main
