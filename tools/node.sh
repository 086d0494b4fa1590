#!/bin/sh
# Install the programs of others that the format tests read our files with, into .node/: splat-transform,
# the Khronos glTF validator and three.js. Never fails: without them those tests skip, and say so.
set -u
cd "$(dirname "$0")/.."
splat_transform=@playcanvas/splat-transform@3.7.0
gltf_validator=gltf-validator@2.0.0-dev.3.10
three=three@0.187.0

if ! command -v npm >/dev/null 2>&1 || [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ]; then
    echo "note: no Node.js 20 or later with npm here: the tests with programs of others will skip"
    exit 0
fi
[ "$(cat .node/installed 2>/dev/null)" = "$splat_transform $gltf_validator $three" ] && exit 0
mkdir -p .node
npm install --prefix .node --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
    "$splat_transform" "$gltf_validator" "$three" >/dev/null &&
    echo "$splat_transform $gltf_validator $three" >.node/installed ||
    echo "note: npm could not install the programs of others: the tests with them will skip"
exit 0
