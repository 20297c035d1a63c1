#!/usr/bin/env bash
# system-packages.sh [dev]
# Installs the system packages that the demo (with `dev`: the checks too) needs and that are missing, through apt as
# root or with sudo.
# Where it may not, it names them. Only a missing `venv` ends in failure: all else works in part without.
set -euo pipefail

python=${PYTHON:-python3}
missing=()
reasons=()

need() { # package, what it is for
    missing+=("$1")
    reasons+=("$1 ($2)")
}

if ! command -v "$python" >/dev/null; then
    need python3 "Python itself"
    need python3-venv "the virtual environment"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    need "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" "the virtual environment"
fi
command -v busybox >/dev/null || need busybox-static "the busybox image"
if [ "${1:-}" = dev ]; then
    command -v node >/dev/null || need nodejs "the TypeScript types"
    command -v npm >/dev/null || need npm "the TypeScript types"
fi

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    as_root=(refused)
fi

if [ "${as_root[*]:-}" != refused ] && command -v apt-get >/dev/null; then
    echo "Installing ${missing[*]} with apt."
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
    # the package lists may be absent or old: fetched when the first try fails
    if "${install[@]}" >"$log" 2>&1 </dev/null; then
        exit 0
    fi
    if "${as_root[@]}" apt-get update -q >>"$log" 2>&1 && "${install[@]}" >>"$log" 2>&1 </dev/null; then
        exit 0
    fi
    tail -n 5 "$log" >&2
fi

printf 'Please install:%s\n' "$(printf ' %s,' "${reasons[@]}" | sed 's/,$/./')" >&2
for package in "${missing[@]}"; do
    case $package in python3*) exit 1 ;; esac
done
