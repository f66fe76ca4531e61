#!/usr/bin/env bash
# build: a newer Docker Engine than Debian's, for tests. It builds dockerd, containerd,
# its shim and runc out of the Go module proxy and puts them into a directory:
#
#   build.sh DIR
#
# That takes some minutes on two cores. It does nothing where DIR has these versions.
# Nothing is installed; the lab's DDOCKER_LAB_ENGINES takes such a directory.
set -euo pipefail

moby=v2.0.0-beta.24 # the engine 29.8
containerd=v2.3.5
runc=v1.5.2 # Debian 12's does not know the namespaces that the engine 29 asks for
versions="moby $moby, containerd $containerd, runc $runc"

[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$1"
dir=$(realpath "$1")
if [ "$(cat "$dir/versions" 2>/dev/null)" = "$versions" ]; then exit; fi
echo "build: $versions: this takes some minutes" >&2

# program NAME MODULE PACKAGE TAGS LDFLAGS. The module is built where the module cache
# has it; outside of this project, whose go.mod it must not touch.
program() {
  local source
  source=$(go -C / mod download -json "$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  GOWORK=off GOFLAGS=-mod=mod go -C "$source" build -trimpath -tags "$4" -ldflags "-s -w $5" -o "$dir/$1" "$3"
}

static="netgo osusergo static_build"
export CGO_ENABLED=0
program dockerd "github.com/moby/moby/v2@$moby" ./cmd/dockerd \
  "$static nri_no_wasm exclude_graphdriver_btrfs exclude_graphdriver_zfs" \
  "-X github.com/moby/moby/v2/dockerversion.Version=29.8.0-${moby#*-} -X github.com/moby/moby/v2/dockerversion.GitCommit=$moby"
for part in containerd containerd-shim-runc-v2; do
  program $part "github.com/containerd/containerd/v2@$containerd" ./cmd/$part \
    "$static no_btrfs no_devmapper no_zfs no_cri no_aufs" \
    "-X github.com/containerd/containerd/v2/version.Version=${containerd#v}"
done
# runc enters namespaces in C. Without libseccomp it has no seccomp: the lab asks for none.
CGO_ENABLED=1 program runc "github.com/opencontainers/runc@$runc" . \
  "$static urfave_cli_no_docs" "-extldflags -static -X main.version=${runc#v}"
echo "$versions" >"$dir/versions"
