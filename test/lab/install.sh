#!/usr/bin/env bash
# install: what the lab and the build need on Debian, only where it is missing.
# It prints nothing and touches nothing when all is there.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

need dockerd docker.io
need ip iproute2
need iptables iptables
need nsenter util-linux
need gcc gcc
need xz xz-utils
need bzip2 bzip2
need curl curl
need script bsdutils
/usr/bin/python3 -c 'import docker' 2>/dev/null || missing+=(python3-docker)
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
# The lab's only image holds nothing but this program, so it must need no library.
{ command -v busybox && ! ldd "$(command -v busybox)"; } >/dev/null 2>&1 || missing+=(busybox-static)

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >&2; }

if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "install: ${missing[*]} missing: run this as root" >&2; exit 1; }
  echo "install: ${missing[*]}" >&2
  apt update
  apt install -y --no-install-recommends "${missing[@]}"
fi
# Newer Debians ship the docker command apart from the engine.
if ! command -v docker >/dev/null 2>&1; then
  apt update
  apt install -y --no-install-recommends docker-cli
fi
command -v go >/dev/null 2>&1 || { echo "install: Go is missing: see https://go.dev/doc/install" >&2; exit 1; }
