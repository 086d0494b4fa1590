#!/bin/sh
# Make the environment in which Blender renders: a Python 3.11 of its own with bpy, beside the
# package's environment because bpy needs an older NumPy.
#
#   tools/blender.sh           make it, or say why that cannot be
#   tools/blender.sh if-easy   for the tests: never fails; they skip where there is no Blender
#
# Environment:
#   BLENDER_PYTHON   a Python 3.11 (the first of python3.11, python3)
#   BLENDER=none     with if-easy: do nothing
set -eu
cd "$(dirname "$0")/.."

venv=.venv-blender
easy=${1:-}
libraries="libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"

give_up() {
    printf 'blender: %s\n' "$@" >&2
    [ -n "$easy" ] && exit 0
    exit 1
}

works() { # Blender starts and can render
    "$venv/bin/python" -c 'import bpy; bpy.context.scene.render.engine = "CYCLES"' >/dev/null 2>&1
}

find_python() {
    for candidate in ${BLENDER_PYTHON:-python3.11 python3}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

install_libraries() { # what bpy is linked with and slim machines lack
    command -v apt-get >/dev/null 2>&1 || return 0
    if [ "$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi
    export DEBIAN_FRONTEND=noninteractive
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends $libraries; } >&2 || true
}

if [ "${BLENDER:-}" = none ] && [ -n "$easy" ]; then
    echo "blender: left out (BLENDER=none): its tests skip"
    exit 0
fi
works && exit 0
python=$(find_python)
[ -n "$python" ] || give_up "no Python 3.11 with its venv module (bpy 5.0 needs that one): name one in BLENDER_PYTHON," \
    "or use an installed Blender: L4GM_BLENDER=/path/to/blender"
echo "blender: making $venv with $("$python" -V); about 350 MB to download"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "bpy==5.0.1" "numpy<2" ||
    give_up "pip could not install bpy 5.0.1; the lines above say why"
works || install_libraries
works || give_up "bpy does not start: $("$venv/bin/python" -c 'import bpy' 2>&1 | tail -1)" \
    "on Debian it needs: apt-get install $libraries"
echo "blender: $venv is ready"
