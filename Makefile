# The commands of this project. Everything is installed into .venv from pyproject.toml under constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MITDB ?= ../shared/data/mitdb

.PHONY: demo test lint reference clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(READY)

## demo: train the embedded quick-start study (synthetic ECG), print its laws, write an HTML report
demo: $(READY)
	$(BIN)/scalelab run --store build/demo/demo.duckdb --workers 2
	$(BIN)/scalelab analyze --store build/demo/demo.duckdb --html build/demo/report.html

## test: lint, types and the whole test suite
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## reference: run the study behind experiments.duckdb on the MIT-BIH database at MITDB (about half an hour)
reference: $(READY)
	@test -d "$(MITDB)" || { echo "error: no MIT-BIH database at $(MITDB); give its folder: make reference MITDB=DIR"; exit 2; }
	$(BIN)/scalelab run examples/mitbih-convnext.toml --store experiments.duckdb --workers 2
	$(BIN)/scalelab analyze --store experiments.duckdb

clean:
	rm -rf build $(VENV)
