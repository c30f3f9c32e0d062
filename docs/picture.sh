#!/usr/bin/env bash
# Makes docs/report.png again: the top of the report of experiments.duckdb, as chromium shows it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
"$python" -m scalelab.cli analyze --store experiments.duckdb --html "$away/report.html" >"$away/shown.txt"
"${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size="${SIZE:-1280,960}" \
  --user-data-dir="$away/profile" --screenshot="$away/report.png" "file://$away/report.html" 2>"$away/said.txt"
"$python" - "$away/report.png" docs/report.png <<'PYTHON'
import sys

from PIL import Image

whole, small = sys.argv[1:]
Image.open(whole).convert("RGB").quantize(64).save(small, optimize=True)
PYTHON
ls -l docs/report.png
