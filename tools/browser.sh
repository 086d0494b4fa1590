#!/bin/sh
# Make sure that a browser is there for the tests that open the player in one. Never fails: without
# a browser those tests skip, and say so.
command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "note: no chromium and chromedriver here and no apt-get to install it: the browser tests will skip"
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "note: no chromium and chromedriver, and no right to install it: the browser tests will skip"
    echo "note: to run them too: sudo apt-get install chromium chromium-driver"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium chromium-driver ||
    echo "note: chromium could not be installed: the browser tests will skip"
exit 0
