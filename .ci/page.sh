#!/usr/bin/env bash
# Installs what tests/page needs: a chromium where it is missing and this may be done; Playwright and axe-core into build/page.
# The browser is Debian's: one that Playwright would download is a few hundred megabytes more.
#
#   PIP=.venv/bin/pip .ci/page.sh
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for program in chromium npm; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "${missing[*]} not installed, and only root on Debian or Ubuntu can: apt-get install ${missing[*]}" >&2
    exit 0 # the tests say it again, and skip or fail
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
fi
rm -rf build/page
mkdir -p build/page
# npm holds the package to the hash of package-lock.json.
cp .ci/page/package.json .ci/page/package-lock.json build/page/
npm ci --prefix build/page --ignore-scripts --no-audit --no-fund --silent
"${PIP:-pip}" install --quiet --disable-pip-version-check --no-deps --target build/page/python -r .ci/page.txt
touch build/page/.ready
