#!/bin/sh
# Make the virtual environment and install the package into it, with the versions of constraints.txt.
#
#   tools/setup.sh           what the package needs
#   tools/setup.sh dev       also what its tests need
#
# Environment:
#   VENV         the environment's folder (.venv)
#   PYTHON       the Python to make it with (the first of python3, python3.13 ... that is 3.11 or newer)
#   TORCH_INDEX  package index to take torch alone from; "none": pip's usual ones. By default the CPU
#                builds' index on Linux machines without an NVIDIA GPU, where PyPI's build would bring
#                gigabytes of CUDA libraries along.
set -eu
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}
extra=${1:-}
cpu_index=https://download.pytorch.org/whl/cpu

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

usable() { # a Python of 3.11 or newer
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of 3.11 or newer."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$(python3 -V 2>/dev/null || echo "no python3")
    fail "Python 3.11 or newer is needed, found: $found." \
        "On Debian 12 or Ubuntu 24.04 and later: sudo apt-get install python3 python3-venv" \
        "On older ones install a newer Python, and name it: make demo PYTHON=/path/to/python3.12"
}

make_venv() {
    python=$(find_python) || exit 1
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        fail "$python has no venv module (Debian and Ubuntu ship it apart)." \
            "Install it with: sudo apt-get install python3-venv   (or python$version-venv)"
    fi
    echo "setup: making $venv with $("$python" -V)"
    "$python" -m venv "$venv" || fail "could not make $venv; remove it and try again."
}

# torch first and alone, so that its index serves nothing else.
install_torch() {
    pip install --quiet --no-deps --no-index torch 2>/dev/null && return # there, or in a local wheel folder
    index=${TORCH_INDEX:-}
    if [ -z "$index" ] && [ "$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia/version ]; then
        index=$cpu_index
    fi
    case $index in
    "" | none) ;;
    *)
        echo "setup: torch from $index"
        pip install --no-deps --timeout 20 --retries 1 --index-url "$index" torch 2>/dev/null ||
            echo "setup: not to be had there; taking pip's usual source (on Linux some gigabytes)"
        ;;
    esac
}

pip() { # pip install ARGUMENTS, always with the constraints
    shift
    "$venv/bin/python" -m pip install -c constraints.txt "$@"
}

[ -x "$venv/bin/python" ] && usable "$venv/bin/python" || make_venv
"$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    fail "$venv has no pip; remove the folder and run this again (apt-get install python3-venv)."
install_torch
echo "setup: installing l4gm and what it needs"
pip install --quiet -e ".${extra:+[$extra]}" ||
    fail "pip could not install the packages; the lines above say which."
