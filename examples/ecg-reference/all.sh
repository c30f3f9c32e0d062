#!/usr/bin/env bash
# The reference study from nothing into a store: the runs for the laws, the predictions, the larger runs, those on other patients.
set -euo pipefail
[ $# -eq 1 ] || { echo "error: give the store to write: $0 STORE" >&2; exit 2; }
store=$(realpath -m "$1")
cd "$(dirname "$0")"
run() { scalelab run "$1" --store "$store" --workers "${WORKERS:-2}"; }

# Writes down what a folder's scales will bring; a second run of this script finds it registered, which is refused with code 2.
foretell() {
  for family in convnext1d resnet1d ssm1d regnet1d transformer1d; do
    scalelab predict --store "$store" --study ecg-reference --on test --law auto --architecture "$family" \
      --rows "$1/$family.csv" --register || [ $? -eq 2 ]
  done
}

run random.toml
foretell larger
foretell again
run larger-runs.toml
run again-runs.toml
run patients.toml
run patients-data.toml
scalelab verdicts --store "$store"
scalelab analyze --store "$store" --on test
