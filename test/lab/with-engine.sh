#!/usr/bin/env bash
# with-engine: run a command with DDOCKER_TEST_ENGINE set to the engine of a lab of
# one host, which goes down when the command ends, however it ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The lab is held as long as this script holds the writing end of its standard input.
coproc HOLD { exec "$here/lab.sh" hold 1; }
hold=$HOLD_PID
finish() {
  local status=$?
  eval "exec ${HOLD[1]}>&-"
  wait "$hold" || { echo "with-engine: the lab did not go down cleanly" >&2; status=1; }
  exit $status
}
read -r lab <&"${HOLD[0]}" || { echo "with-engine: the lab could not be raised" >&2; exit 1; }
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

DDOCKER_TEST_ENGINE=unix://$lab/h1/docker.sock "$@"
