#!/usr/bin/env bash
# demo: three hosts on this machine, one cluster out of them, and a first look at it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
lab=test/lab/lab.sh
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
on() { local i=$1; shift; say "$lab exec $i $*"; "$lab" exec "$i" "$@"; }

trap 'echo "demo: failed; make demo-down removes what is up" >&2' ERR
echo "Raising three hosts, each with its own Docker Engine, and one cluster out of them…"
"$lab" up 3
"$lab" image
echo "Two hosts get simulated GPUs: what ddocker sees of them is what it sees of real ones."
"$lab" gpus 1 'gpu model=NVIDIA TITAN Xp' 'gpu model=NVIDIA TITAN Xp' 'link 0 1 nvlink'
"$lab" gpus 2 'gpu mem=81920 model=NVIDIA A100-SXM4-80GB'
"$lab" agents

end=$((SECONDS + 30)) # a host offers its cards once its engine was seen to give them
until [ "$("$lab" exec 1 ddocker nodes | grep -c 'TITAN\|A100')" = 2 ] || [ $SECONDS -ge $end ]; do sleep 0.5; done

on 1 ddocker nodes
on 1 ddocker create --type 2 --ports 1 --image busybox:latest --name "hello-$(date +%H%M%S)"
on 2 ddocker ps
on 3 ddocker nvidia-smi

cat <<TEXT

Three machines, one cluster, no master. Play on (as root):

  $lab exec 3 ddocker create            asks for type, ports, image and name
  $lab exec 1 ddocker ps -a             the same list from every host
  $lab exec 2 ddocker exec NAME         a shell in a container, wherever it runs
  $lab exec 2 ddocker nodes             who has what free
  $lab exec 2 ddocker nvidia-smi h1     the cards of a host
  $lab exec 1 docker ps                 what host 1's own engine runs
  $lab halt 1 KILL; $lab agent 1  kill an agent, start it again
  $lab cut 3; $lab mend 3         unplug a machine, plug it in again

make demo-down removes it all.
TEXT
