#!/usr/bin/env bash
# lab: several machines on one Linux box, each with its own address, host name,
# processes and real Docker Engine, so that a cluster can be run and broken here.
#
#   lab.sh up N            hosts h1..hN at 10.88.0.1..N, an engine on each
#   lab.sh image           load the tiny image busybox:latest into every engine
#   lab.sh agents          one cluster out of all hosts: h1 founds it, the others join
#   lab.sh agent I [FLAG…] start ddocker agent on host I, with these flags more
#   lab.sh halt I [SIG]    send SIG (TERM) to host I's agent and wait until it ended
#   lab.sh exec I CMD…     run CMD on host I: its network and host name, DOCKER_HOST
#                          set to its engine and DDOCKER_HOST to its agent
#   lab.sh cut I | mend I  unplug host I's cable | plug it in again
#   lab.sh slow I RATE     let no more than RATE (400mbit) come into host I, until mend
#   lab.sh split I J       drop all traffic between hosts I and J, both ways
#   lab.sh join I J        undo split
#   lab.sh deafen I J      drop what comes to host I from J, and nothing the other way
#   lab.sh hear I J        undo deafen
#   lab.sh move I N        give host I the address 10.88.0.N
#   lab.sh engine I SIG    send SIG to host I's engine (STOP hangs it, CONT wakes it)
#   lab.sh restart I [SIG] end host I's engine with SIG (TERM), and start it anew
#   lab.sh live I          have host I's containers outlive its engine (live-restore)
#   lab.sh small I SIZE    put the data of host I's agent on a disk of SIZE (8m), in
#                          memory; before the agent starts the first time
#   lab.sh fill I          fill that disk to the last byte
#   lab.sh empty I         undo fill
#   lab.sh gpus I LINE…    host I has these simulated cards from now on, each LINE as
#                          nvml/nvml.c has it: 'gpu model=TITAN Xp' 'process pid=7 gpu=0' …;
#                          before the agent starts the first time, at will afterwards
#   lab.sh run I NAME CMD… start CMD in host I's background; its id there, for
#                          "process pid=", is in hI/NAME.pid
#   lab.sh kill I NAME     end it
#   lab.sh clean           back to bare hosts: no agent, container, network or volume, only busybox:latest
#   lab.sh down            stop everything, leave nothing
#   lab.sh hold N          up and image in a free directory and network, print the
#                          directory, down when standard input ends: it cannot be left behind
#
# DDOCKER_LAB is the directory (/tmp/ddocker-lab), DDOCKER_LAB_NET the network
# (10.88.0), DDOCKER_BIN the program (bin/ddocker). DDOCKER_LAB_ENGINES gives hosts
# another engine than this machine's, each with one of the two image stores:
# "h2=DIR:overlay2 h3=DIR:containerd", DIR as test/engines/build.sh makes it.
# DDOCKER_LAB_DISKS gives engines a small disk, in memory: "h2=200m".
#
# It needs root, and what install.sh installs. A host is one process, "init", that
# holds its namespaces; when it is killed, the kernel ends every process and mount of
# that host with it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=${DDOCKER_LAB:-/tmp/ddocker-lab}
net=${DDOCKER_LAB_NET:-10.88.0}
bin=$(realpath -m "${DDOCKER_BIN:-$here/../../bin/ddocker}")
patience=30 # seconds that an engine or an agent has to come up or to end

settle() { # read what a lab that is up was raised with
  if [ -e "$lab/net" ]; then net=$(<"$lab/net"); fi
  tag=ddl-$(cut -d. -f2,3 <<<"$net" | tr . -)
}

die() { echo "lab: $*" >&2; exit 1; }
hosts() { find "$lab" -maxdepth 1 -name 'h[0-9]*' -printf '%f\n' 2>/dev/null | tr -d h | sort -n; }
init() { cat "$lab/$1/init" 2>/dev/null || die "$1 is not up: lab.sh up N"; }
engine() { echo "unix://$lab/h$1/docker.sock"; }
address() { cat "$lab/h$1/address"; }

# await WHAT CMD…: until CMD succeeds, for at most $patience seconds.
await() {
  local what=$1 end=$((SECONDS + patience)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "lab: $what took more than $patience s" >&2; return 1; }
    sleep 0.05
  done
}

# box NAME: new namespaces, held by a process whose id goes to $lab/NAME/init.
# It has a /run of its own, so that no socket or lock of an engine reaches the real one.
box() {
  mkdir -p "$lab/$1"
  unshare --net --uts --mount --pid --propagation private bash -c '
    setsid bash -c "$1" ddocker-lab-init "$2" "$3" &
    echo $! >"$3/init"' \
    box 'mount -nt proc proc /proc; mount -nt tmpfs tmpfs /run
         [ ! -d /etc/docker ] || mount -nt tmpfs tmpfs /etc/docker
         hostname "$1"; : >"$2/ready"; sleep infinity; exit' \
    "$1" "$lab/$1" </dev/null >/dev/null 2>&1 9>&-
  await "$1" test -e "$lab/$1/ready"
}

in_net() { local pid; pid=$(init "$1"); shift; nsenter --target "$pid" --net "$@"; }
in_box() { local pid; pid=$(init "$1"); shift; nsenter --target "$pid" --net --uts --mount --pid "$@"; }

# daemon I NAME CMD…: CMD on host I in the background, its id (as that host counts)
# in NAME.pid, its output in NAME.log. It is the child of that host's init, so that
# nobody outside has to reap it.
daemon() {
  local i=$1 name=$2 dir=$lab/h$1; shift 2
  # shellcheck disable=SC2016
  in_box "h$i" sh -c 'setsid sh -c "$1" "$0" "$@" &' "$dir/$name.pid" 'echo $$ >"$0"; shift; exec "$@"' "$@" \
    </dev/null >>"$dir/$name.log" 2>&1 9>&-
}

# signal I NAME SIG
signal() {
  local pid; pid=$(cat "$lab/h$1/$2.pid" 2>/dev/null) || return 1
  in_box "h$1" sh -c "kill -s $3 $pid" 2>/dev/null
}
gone() { ! signal "$1" "$2" 0; }

wire() { # the switch: a bridge in a box of its own, so that no firewall of this machine filters it
  [ -e "$lab/switch/init" ] && return
  box switch
  in_net switch sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
  in_net switch ip link add br0 type bridge
  in_net switch ip link set br0 up
  ip link add "$tag" type veth peer name up0 netns "$(init switch)"
  in_net switch ip link set up0 master br0 up
  ip addr add "$net.254/24" dev "$tag"
  ip link set "$tag" up
}

plug() { # host I's cable into the switch
  in_net switch ip link add "v$1" type veth peer name eth0 netns "$(init "h$1")"
  in_net switch ip link set "v$1" master br0 up
  in_net "h$1" ip link set lo up
  move "$1" "$1"
}

move() {
  echo "$net.$2" >"$lab/h$1/address"
  in_net "h$1" ip addr flush dev eth0
  in_net "h$1" ip addr add "$net.$2/24" dev eth0
  in_net "h$1" ip link set eth0 up
  in_net "h$1" ip route replace default via "$net.254"
}

up() {
  local i
  [ "$(id -u)" = 0 ] || die "needs root"
  for i in dockerd docker ip iptables nsenter; do
    command -v $i >/dev/null || die "$i is missing: run $here/install.sh"
  done
  mkdir -p "$lab"; echo "$net" >"$lab/net"
  write_info
  wire
  for i in $(seq 1 "$1"); do
    [ -e "$lab/h$i/init" ] && continue
    box "h$i"
    plug "$i"
    start_engine "$i"
  done
  for i in $(seq 1 "$1"); do
    await "the engine of h$i" docker -H "$(engine "$i")" version || { tail -5 "$lab/h$i/dockerd.log" >&2; exit 1; }
  done
}

# start_engine I: this machine's, or the one that DDOCKER_LAB_ENGINES has for the host.
start_engine() {
  local dir=$lab/h$1 path=$PATH config='{}' other snapshots
  for other in ${DDOCKER_LAB_ENGINES:-}; do
    case $other in
      "h$1="/*:overlay2) snapshots=false ;;
      "h$1="/*:containerd) snapshots=true ;;
      "h$1="*) die "$other: want h$1=/DIR:overlay2 or h$1=/DIR:containerd" ;;
      *) continue ;;
    esac
    other=${other#*=}
    path=${other%:*}:$PATH
    [ -x "${other%:*}/dockerd" ] || die "${other%:*}/dockerd is missing: test/engines/build.sh ${other%:*}"
    config='{"features": {"containerd-snapshotter": '$snapshots'}, "userland-proxy": false, "seccomp-profile": "unconfined"}'
  done
  [ -e "$dir/daemon.json" ] || echo "$config" >"$dir/daemon.json"
  small_disk "$1"
  daemon "$1" dockerd env -u TMPDIR PATH="$dir/bin:$path" dockerd --config-file "$dir/daemon.json" --host "$(engine "$1")" \
    --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/exec/dockerd.pid" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$tag-h$1"
}

# Every host sees all cores of this machine, so the types are small and nothing is held back.
write_info() {
  cat >"$lab/info.json" <<'JSON'
{
  "type": {
    "1 CPU, 1 GB": [1, 1, ""],
    "2 CPUS, 1 GB": [2, 1, ""],
    "1 CPU, 1 GB, 1 TITAN XP": [1, 1, "TITAN Xp"],
  },
  "buffer": {"cpu": 0, "mem": 0},
  "start_port_num": 25000,
  "additional_options": []
}
JSON
}

image() {
  local root=$lab/image
  mkdir -p "$root/bin" "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  local name
  for name in cat dd echo env false hostname id kill ls nc ps sh sleep stty touch true; do
    ln -s busybox "$root/bin/$name"
  done
  printf '#!/bin/sh\nexec /bin/sh "$@"\n' >"$root/bin/bash"
  chmod +x "$root/bin/bash"
  local first i; first=$(engine "$(hosts | head -1)")
  tar -C "$root" -c . | docker -H "$first" import -c 'CMD ["/bin/sh"]' - busybox:latest >/dev/null
  rm -rf "$root"
  docker -H "$first" save busybox:latest >"$lab/busybox.tar"
  for i in $(hosts); do docker -H "$(engine "$i")" load -qi "$lab/busybox.tar" >/dev/null; done
}

# enter keeps one process from here to the command, so that killing it kills the command.
enter() {
  local i=$1 pid; shift; pid=$(init "h$i")
  exec nsenter --target "$pid" --net --uts env PATH="$(dirname "$bin"):$PATH" \
    DOCKER_HOST="$(engine "$i")" DDOCKER_HOST="unix://$lab/h$i/ddocker.sock" "$@" 9>&-
}

agent() {
  local i=$1 dir=$lab/h$1 at; shift
  at=$(address "$i"):7722
  [ -x "$bin" ] || die "$bin is missing: make build"
  rm -f "$dir/agent.pid"
  daemon "$i" agent env PATH="$dir/bin:$PATH" LD_LIBRARY_PATH="$dir/lib" FAKE_NVML="$dir/gpus" "$bin" agent --name "h$i" --listen "$at" --advertise "$at" \
    --data-dir "$dir/state" --socket "$dir/ddocker.sock" --docker-host "$(engine "$i")" \
    --config "$lab/info.json" "$@"
  await "the agent of h$i" answers_or_ended "$i" && ! gone "$i" agent ||
    { tail -5 "$dir/agent.log" >&2; die "the agent of h$i did not start"; }
}
answers_or_ended() {
  docker -H "unix://$lab/h$1/ddocker.sock" version || { [ -s "$lab/h$1/agent.pid" ] && gone "$1" agent; }
}

agents() {
  local i token jobs=()
  agent 1
  for i in $(hosts | tail -n +2); do
    if in_box "h$i" test -e "$lab/h$i/state/tls"; then
      agent "$i" &
    else
      token=${token:-$(enter 1 "$bin" token)}
      agent "$i" --join "$(address 1)" --token "$token" &
    fi
    jobs+=($!)
  done
  for i in "${jobs[@]}"; do wait "$i"; done
}

halt() {
  signal "$1" agent "${2:-TERM}" || return 0
  await "the end of h$1's agent" gone "$1" agent
}

# gpus gives host I cards, a driver, and its engine what NVIDIA's toolkit adds: a hook
# that runs before each container that was given cards, and writes down which.
gpus() {
  local i=$1 dir=$lab/h$1; shift
  driver
  mkdir -p "$dir/lib"
  ln -sf "$lab/libnvidia-ml.so.1" "$dir/lib/"
  printf '%s\n' "$@" >"$dir/gpus.new"
  mv "$dir/gpus.new" "$dir/gpus" # the driver reads it all the time
  [ -e "$dir/bin/nvidia-container-runtime-hook" ] || toolkit "$i"
}
driver() { # what cards need of it, with NVIDIA's own declarations
  [ -e "$lab/libnvidia-ml.so.1" ] || cc -shared -fPIC -O1 -o "$lab/libnvidia-ml.so.1" "$here/nvml/nvml.c" \
    -I "$(cd "$here" && go list -m -f '{{.Dir}}' github.com/NVIDIA/go-nvml)/pkg/nvml"
}
toolkit() { # the engine looks for the hook when it starts; it may outlive whoever starts it, and his TMPDIR
  local hook=$lab/h$1/bin/nvidia-container-runtime-hook
  mkdir -p "${hook%/*}"
  cat >"$hook" <<HOOK
#!/bin/sh
bundle=\$(sed 's/.*"bundle":"\([^"]*\)".*/\1/')
echo "\${bundle##*/} \$(grep -o 'NVIDIA_VISIBLE_DEVICES=[^"]*' "\$bundle/config.json" | sort -u)" >>$lab/h$1/hook.log
HOOK
  chmod +x "$hook"
  restart "$1"
}

# restart starts an engine anew. Its containerd dies with it, a moment later.
restart() {
  signal "$1" dockerd CONT || true
  signal "$1" dockerd "${2:-TERM}" && await "the end of h$1's engine" gone "$1" dockerd
  await "the end of h$1's containerd" no_containerd "$1"
  rm -f "$lab/h$1/exec/dockerd.pid"
  start_engine "$1"
  await "the engine of h$1" docker -H "$(engine "$1")" version
}
no_containerd() { ! in_box "h$1" sh -c "kill -0 \$(cat $lab/h$1/exec/containerd/containerd.pid)" 2>/dev/null; }

live() {
  sed -i 's/^{"live-restore": true, /{/; s/^{/{"live-restore": true, /; s/, }$/}/' "$lab/h$1/daemon.json"
  signal "$1" dockerd HUP
  await "live-restore on h$1" lives_on "$1"
}
lives_on() { [ "$(docker -H "$(engine "$1")" info -f '{{.LiveRestoreEnabled}}')" = true ]; }

small() {
  mkdir -p "$lab/h$1/state"
  in_box "h$1" mount -nt tmpfs -o "size=$2,mode=700" tmpfs "$lab/h$1/state"
}
fill() { # by pieces, each smaller than the one before: a tmpfs gives whole pages
  in_box "h$1" sh -c "for bs in 65536 4096 512 1; do dd if=/dev/zero bs=\$bs 2>/dev/null; done >$lab/h$1/state/ballast; true"
}

# deafen I J -I|-D: the rule that drops what comes to I from J
deafen() { in_net "h$1" iptables "$3" INPUT -s "$(address "$2")" -j DROP; }
between() { deafen "$1" "$2" "$3"; deafen "$2" "$1" "$3"; }

bare() { # host I as it was after up and image
  local d; d="docker -H $(engine "$1")"
  signal "$1" dockerd CONT || true
  signal "$1" agent KILL && await "the end of h$1's agent" gone "$1" agent
  $d ps -aq --no-trunc | xargs -r $d rm -fv >/dev/null
  $d network prune -f >/dev/null
  $d volume ls -q | xargs -r $d volume rm -f >/dev/null
  $d images --format '{{.Repository}}:{{.Tag}} {{.ID}}' |
    awk '$1 != "busybox:latest" {print $1 ~ /<none>/ ? $2 : $1}' | xargs -r $d rmi -f >/dev/null
  $d image inspect busybox:latest >/dev/null 2>&1 || $d load -qi "$lab/busybox.tar" >/dev/null
  in_net "h$1" iptables -F INPUT
  mend "$1"
  [ "$(address "$1")" = "$net.$1" ] || move "$1" "$1"
  rm -rf "$lab/h$1"/{state,agent.pid,ddocker.sock,gpus,lib,hook.log,bin/nvidia-smi}
  : >"$lab/h$1/agent.log"
}

clean() {
  local i jobs=()
  write_info
  for i in $(hosts); do bare "$i" & jobs+=($!); done
  for i in "${jobs[@]}"; do wait "$i"; done
}

# ours PID: it is an init of this lab, and not a stranger who got an old number.
ours() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q "ddocker-lab-init .* $lab/"; }
# ended PID…: their namespaces are empty; whoever inherited them may still have to reap them.
ended() {
  local pid
  for pid; do
    ! grep -qs '^State:' "/proc/$pid/status" || grep -q '^State:.Z' "/proc/$pid/status" || return 1
  done
}

down() {
  local file pid pids=()
  for file in "$lab"/*/init; do
    [ -e "$file" ] || continue
    pid=$(<"$file")
    if ours "$pid"; then kill -KILL "$pid"; pids+=("$pid"); fi
  done
  await "ending the hosts" ended "${pids[@]}"
  ip link del "$tag" 2>/dev/null || true
  # The kernel frees a control group a moment after its last process.
  await "emptying the control groups" no_groups
  rm -rf "${lab:?}"
}
no_groups() {
  # What is frozen does not end: a container that was paused when its engine was killed.
  find /sys/fs/cgroup -path "*/$tag-h[0-9]*" -name freezer.state -exec sh -c 'echo THAWED >"$1"' - {} \; 2>/dev/null || true
  find /sys/fs/cgroup -path "*/$tag-h[0-9]*" -name cgroup.freeze -exec sh -c 'echo 0 >"$1"' - {} \; 2>/dev/null || true
  find /sys/fs/cgroup -depth -type d -path "*/$tag-h[0-9]*" -exec rmdir {} + || true
  [ -z "$(find /sys/fs/cgroup -type d -name "$tag-h[0-9]*" -print -quit)" ]
}

# hold takes the first slot that nobody has, and gives it back however it ends.
hold() {
  local slot
  for slot in $(seq 1 99); do
    lab=/tmp/ddocker-lab-$slot net=10.88.$slot
    exec 9>"$lab.lock"
    flock -n 9 && [ /dev/fd/9 -ef "$lab.lock" ] && break
    [ "$slot" -lt 99 ] || die "99 labs are up"
  done
  trap 'down; rm -f "$lab.lock"' EXIT
  trap 'exit 1' HUP INT TERM
  settle; down # what a killed run may have left
  up "$1"
  image
  driver # while the environment is still that of a person, and not a script's
  echo "$lab"
  cat >/dev/null
}

run() { local i=$1 name=$2; rm -f "$lab/h$i/$name.pid"; daemon "$@"; await "starting $name" test -s "$lab/h$i/$name.pid"; }
slow() { in_net switch tc qdisc replace dev "v$1" root tbf rate "$2" burst 128kb latency 50ms; }
mend() {
  in_net switch tc qdisc del dev "v$1" root 2>/dev/null || true # it may be at full speed
  in_net switch ip link set "v$1" up
}

small_disk() { # for host I's engine, if DDOCKER_LAB_DISKS has one
  local disk
  for disk in ${DDOCKER_LAB_DISKS:-}; do
    case $disk in "h$1="*) ;; *) continue ;; esac
    mkdir -p "$lab/h$1/data"
    in_box "h$1" mount -nt tmpfs -o "size=${disk#*=}" tmpfs "$lab/h$1/data"
  done
}

settle
case "${1:-}" in
  up | agent | move | hold) [ $# -ge 2 ] || die "$1 wants a number"; "$@" ;;
  image | agents | clean | down) "$1" ;;
  halt) halt "$2" "${3:-TERM}" ;;
  exec) shift; enter "$@" ;;
  cut) in_net switch ip link set "v$2" down ;;
  mend) mend "$2" ;;
  slow) slow "$2" "$3" ;;
  gpus | run) [ $# -ge 3 ] || die "$1 wants a host, and more"; "$@" ;;
  kill) signal "$2" "$3" KILL ;;
  split) between "$2" "$3" -I ;;
  join) between "$2" "$3" -D ;;
  deafen) deafen "$2" "$3" -I ;;
  hear) deafen "$2" "$3" -D ;;
  restart) restart "$2" "${3:-TERM}" ;;
  live) live "$2" ;;
  small) small "$2" "$3" ;;
  fill) fill "$2" ;;
  empty) in_box "h$2" rm -f "$lab/h$2/state/ballast" ;;
  engine) signal "$2" dockerd "$3" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
