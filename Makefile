# make demo    three hosts on this machine, a cluster out of them, something to play with
# make test    everything, real engines included; installs what it needs
# make test-engines  images between engines of several ages; builds the newer ones first, for minutes
# make test-docker   Docker's clients of several kinds and ages against a plain engine and a cluster;
#              builds them first, for minutes
# make test-release  a cluster of the release before this one, upgraded host by host; builds both
# make sim     every step that somebody may die at, and N (500) clusters under random clients
#              and faults, in virtual time; failures leave traces
# make mutants planted defects, each of which a test has to find
# make test-faults   what breaks under real engines: hosts, cables, disks, logs; ten minutes
# make soak    a cluster under load and random faults for TIME (30m); is it whole, does it grow?
# make fuzz    every fuzz target for FUZZTIME (60s); what it finds stays in testdata/fuzz
# make check   formatting, vet, staticcheck, the house rules
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# go-nvml's generated code uses what NVIDIA calls deprecated.
export CGO_CFLAGS := -Wno-deprecated-declarations
export DDOCKER_BIN := $(CURDIR)/bin/ddocker

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX  ?= /usr/local
LAB     := test/lab/lab.sh
FUZZTIME ?= 60s
ENGINES ?= $(CURDIR)/bin/engines
CLIENTS ?= $(CURDIR)/bin/clients
N       ?= 500
# At every step of every way somebody dies: without the race detector it takes a sixth.
STEPS   := WhicheverStep|TestWhoeverDies

.PHONY: build tools check test test-docker test-engines test-release test-faults fuzz sim mutants soak bench demo demo-down install man clean

build:
	go build -trimpath -ldflags '-X main.version=$(VERSION) -X github.com/docker/cli/cli/version.Version=$(VERSION)' -o bin/ddocker .

# What Debian packages are missing, and only those.
tools:
	@test/lab/install.sh

check: tools
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags engines ./test/engines
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags clients ./test/docker
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags release ./test/release
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags faults ./test/faults
	go test -count=1 -run '^TestHouse' .

# The tests of the engine room get an engine of a lab of their own; the others raise theirs.
# CI makes a test that misses its engine fail instead of passing by. Packages run in
# the order of their naming: the longest go first, the rest fits beside them. One processor
# for each: on two, timers of one bubble that fire at once may end Go's race detector with
# SIGSEGV, as both use the bubble's context (timer.unlockAndRun, up to Go 1.26 at least).
test: export CI := 1
test: tools
	test/lab/with-engine.sh go test -race -cpu 1 -timeout 25m -skip '$(STEPS)' ./test/e2e . ./test/docker ./...

test-engines: tools
	test/engines/build.sh $(ENGINES)
	DDOCKER_ENGINES=$(ENGINES) go test -tags engines -count=1 -timeout 15m ./test/engines

test-docker: tools
	test/docker/build.sh $(CLIENTS)
	DDOCKER_CLIENTS=$(CLIENTS) go test -tags clients -count=1 -timeout 30m ./test/docker

test-release: tools
	go test -tags release -count=1 -v -timeout 15m ./test/release

test-faults: tools
	go test -tags faults -count=1 -v -timeout 40m ./test/faults

# One target after another: each takes all cores. The corpora that are found on the way are
# kept in Go's build cache, so that the next run goes on with them.
fuzz:
	@grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9]*' . | sort | while IFS=: read -r file _ name; do \
	  name=$${name#func }; echo "$$(dirname "$$file") $$name"; \
	  go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; done

# Mixed load and random faults for a given time; the report is bin/soak/report.md.
TIME ?= 30m
soak: tools
	go run ./test/soak -time $(TIME)

sim:
	go test -count=1 -run '$(STEPS)' .
	go run ./test/sim -n $(N)

mutants:
	go run ./test/mutants

bench: tools
	go run ./test/bench

demo: tools build
	@test/lab/demo.sh

demo-down:
	@$(LAB) down

install: build
	install -D -m 755 bin/ddocker $(DESTDIR)$(PREFIX)/bin/ddocker
	sed 's|/usr/local|$(PREFIX)|' packaging/ddocker.service | \
	  install -D -m 644 /dev/stdin $(DESTDIR)/etc/systemd/system/ddocker.service

man: build
	mkdir -p bin/man
	bin/ddocker man bin/man

clean:
	rm -rf bin
