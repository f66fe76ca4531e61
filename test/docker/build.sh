#!/usr/bin/env bash
# build: clients of Docker that Debian does not have, out of the Go module proxy, into a
# directory:
#
#   build.sh DIR
#
# docker-compose, docker-24, docker-27 and docker-29 (the command of those lines), and
# testcontainers (what ./testcontainers does with testcontainers-go). That takes some
# minutes on two cores. It does nothing where DIR has these versions.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
compose=v2.40.3
clis="v24.0.7 v27.4.1 v29.4.0"
versions="compose $compose, docker $clis, testcontainers $(cksum <"$here/testcontainers/go.sum") $(cksum <"$here/testcontainers/main.go")"

[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$1"
dir=$(realpath "$1")
if [ "$(cat "$dir/versions" 2>/dev/null)" = "$versions" ]; then exit; fi
echo "build: $versions: this takes some minutes" >&2

export CGO_ENABLED=0 GOWORK=off
# source MODULE: where the module cache has it.
source() { go -C / mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
# program NAME SOURCE PACKAGE LDFLAGS
program() { GOFLAGS=-mod=mod go -C "$2" build -trimpath -tags "netgo osusergo" -ldflags "-s -w $4" -o "$dir/$1" "$3"; }

program docker-compose "$(source "github.com/docker/compose/v2@$compose")" ./cmd \
  "-X github.com/docker/compose/v2/internal.Version=$compose"
# The docker command keeps its go.mod under another name, so it is built of a copy.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
for version in $clis; do
  line=${version%%.*}; line=${line#v}
  rm -rf "$copy/src"
  cp -r "$(source "github.com/docker/cli@$version+incompatible")" "$copy/src"
  chmod -R u+w "$copy/src"
  rm -rf "$copy/src/vendor"
  [ -e "$copy/src/go.mod" ] || mv "$copy/src/vendor.mod" "$copy/src/go.mod"
  mv "$copy/src/vendor.sum" "$copy/src/go.sum"
  program "docker-$line" "$copy/src" ./cmd/docker "-X github.com/docker/cli/cli/version.Version=${version#v}"
done
go -C "$here/testcontainers" build -trimpath -o "$dir/testcontainers" .
echo "$versions" >"$dir/versions"
