#!/usr/bin/env bash
# Builds the wheel, installs it into a new environment outside the checkout, and trains and analyzes a study there.
set -euo pipefail
cd "$(dirname "$0")/.."
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
rm -rf build/lib build/bdist.* # a module that moved would be packed from where it was
"${PYTHON:-python3}" -m venv "$away/venv"
pip="$away/venv/bin/pip --quiet --disable-pip-version-check"
$pip wheel --no-deps --wheel-dir "$away" .
"${PYTHON:-python3}" .ci/packed.py "$away"/*.whl
$pip install -c constraints.txt "$away"/*.whl
cp .ci/wheel-study.toml "$away/study.toml"
cd "$away"
unset PYTHONPATH
export XDG_CACHE_HOME=$away/cache
venv/bin/scalelab run study.toml --store runs.duckdb --workers 2
venv/bin/scalelab analyze --store runs.duckdb --html page.html
grep -q "script-src 'sha256-" page.html # the script is in the wheel
