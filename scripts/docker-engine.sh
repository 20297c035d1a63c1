#!/usr/bin/env bash
# docker-engine.sh [start|stop|status]: a Docker daemon for the docker engine and its tests.
#
# start   leaves a daemon that answers alone; else installs docker.io through apt where it is missing, starts dockerd by
#         hand (as root or with sudo) and waits for it. Prints one line; exit code 0 when Docker answers.
# stop    stops the daemon that `start` started, and no other.
# status  says whether Docker answers.
#
# The daemon's log and its process id are in .cache/docker-engine of the repository.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$repository/.cache/docker-engine
log=$state/dockerd.log
ours=$state/dockerd.started # "pid starttime": a later process of this number is not taken for it
host=${DOCKER_HOST:-unix:///var/run/docker.sock}
seconds_to_start=60

answers() {
    "${PYTHON:-python3}" - "$host" <<'PY'
import socket, sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
try:
    if url.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(url.path)
    else:
        sock = socket.create_connection((url.hostname, url.port or 2375), timeout=5)
    with sock:
        sock.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        good = b" 200 " in sock.recv(4096).split(b"\r\n", 1)[0]
except OSError:
    good = False
sys.exit(0 if good else 1)
PY
}

starttime() { # pid -> the time it started, in clock ticks since boot; fails when it is not there
    # the program's name, which may hold anything, ends with the last parenthesis
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20 | grep .
}

runs() { # whether the daemon that we started is still there
    local pid when
    [ -f "$ours" ] || return 1
    read -r pid when <"$ours"
    [ "$(starttime "$pid" || true)" = "$when" ]
}

give_up() {
    echo "Docker is not available: $1" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_docker() {
    command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] && return
    command -v apt-get >/dev/null || give_up "install Docker (there is no apt here to do it with)."
    mkdir -p "$state"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker.io)
    # the package lists may be absent or old: fetched when the first try fails
    if ! as_root "${install[@]}" >"$state/apt.log" 2>&1 </dev/null; then
        { as_root apt-get update -q && as_root "${install[@]}"; } >>"$state/apt.log" 2>&1 </dev/null ||
            give_up "the package docker.io could not be installed, see $state/apt.log."
    fi
}

launch() { # options of dockerd
    local options=("$@")
    echo "--- dockerd ${options[*]-}" >>"$log"
    # a session of its own: it must not go with the terminal, nor with make
    as_root setsid --fork sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$state/pid" \
        env PATH="$PATH:/usr/sbin:/sbin" dockerd "${options[@]}" >>"$log" 2>&1 </dev/null
    local waited=0 pid
    until [ -s "$state/pid" ]; do sleep 0.05; done
    pid=$(cat "$state/pid")
    rm -f "$state/pid"
    echo "$pid $(starttime "$pid" || echo gone)" >"$ours"
    while [ $waited -lt $((seconds_to_start * 5)) ]; do
        if answers; then return 0; fi
        runs || return 1
        sleep 0.2
        waited=$((waited + 1))
    done
    return 1
}

start() {
    if answers; then
        echo "Docker answers at $host."
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] || give_up "DOCKER_HOST is $host, where nothing answers; start that daemon or unset it."
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null ||
        give_up "this user is not root, cannot use sudo, and no daemon that it may use answers at $host."
    install_docker
    mkdir -p "$state"
    local begin=$SECONDS
    # installing may have started it, and it may be on its way up
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        if answers; then
            echo "Docker answers at $host."
            return
        fi
        pgrep -x dockerd >/dev/null || break
        sleep 1
    done
    # on a root file system that is an overlay itself (in a container) dockerd needs its plain storage driver
    launch || { ! runs && launch --storage-driver=vfs; } ||
        give_up "dockerd did not start, see $log ($(tail -n 1 "$log" | cut -c1-200))."
    echo "Docker answers at $host, started in $((SECONDS - begin)) s (log: ${log#"$repository"/})."
}

stop() {
    if ! runs; then
        rm -f "$ours"
        echo "No Docker of ours runs."
        return
    fi
    local pid
    read -r pid _ <"$ours"
    as_root kill "$pid"
    for _ in $(seq 150); do
        runs || break
        sleep 0.2
    done
    if runs; then as_root kill -9 "$pid"; fi
    rm -f "$ours"
    echo "Docker stopped."
}

case ${1:-start} in
start) start ;;
stop) stop ;;
status) if answers; then echo "Docker answers at $host."; else give_up "nothing answers at $host."; fi ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
