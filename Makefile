# The commands of this project. Everything is installed into .venv from pyproject.toml under constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLUSTERS := $(VENV)/.clusters
IMPORTS := build/imports/.ready
PAGE := build/page/.ready
MITDB ?= ../shared/data/mitdb
# Whether these tests are skipped (try) or fail (must) where no cluster or no browser can be started.
RAY ?= try
SLURM ?= try
BROWSER ?= try
# What test-python installs of PyTorch; other versions may bring gigabytes of CUDA.
TORCH ?= $(shell grep '^torch==' constraints.txt)

.PHONY: demo test lint test-wheel test-third-party test-imports test-page test-ray test-slurm test-lowest test-python reference clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(READY)

$(CLUSTERS): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,ray,slurm]'
	touch $(CLUSTERS)

## demo: train the embedded quick-start study (synthetic ECG), print its laws, write an HTML report
demo: $(READY)
	$(BIN)/scalelab run --store build/demo/demo.duckdb --workers 2
	$(BIN)/scalelab analyze --store build/demo/demo.duckdb --html build/demo/report.html
	@echo "next: open build/demo/report.html; what a larger network would reach says"
	@echo "  $(BIN)/scalelab predict --store build/demo/demo.duckdb --at n_params=1M"

## test: lint, types and the whole test suite
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## test-wheel: build the wheel, install it into a new environment outside the checkout, train and analyze there
test-wheel:
	PYTHON=$(PYTHON) .ci/wheel.sh

## test-third-party: networks and optimizers of other packages (torch-ecg, transformers, …), installed into build/third-party
test-third-party: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/third-party -r .ci/third-party.txt
	PYTHONPATH="$(CURDIR)/build/third-party" OMP_NUM_THREADS=1 $(BIN)/pytest tests/third_party

$(IMPORTS): $(CLUSTERS) .ci/imports.txt
	rm -rf build/imports
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/imports -r .ci/imports.txt
	touch $(IMPORTS)

## test-imports: files that other trackers write (Optuna, MLflow, Lightning, …), installed into build/imports
test-imports: $(IMPORTS)
	SCALELAB_IMPORTS=must PYTHONPATH="$(CURDIR)/build/imports" OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/imports

$(PAGE): $(READY) .ci/page.sh .ci/page.txt .ci/page/package-lock.json
	PIP=$(BIN)/pip .ci/page.sh

## test-page: the HTML page in Debian's chromium, driven by Playwright from build/page; BROWSER=must fails where it is missing
test-page: $(PAGE)
	SCALELAB_PAGE=$(BROWSER) PYTHONPATH="$(CURDIR)/build/page/python" OMP_NUM_THREADS=1 $(BIN)/pytest -rs tests/page

## test-ray: studies on a Ray cluster of two nodes that is started here; RAY=must fails where it cannot be
test-ray: $(CLUSTERS)
	SCALELAB_RAY=$(RAY) OMP_NUM_THREADS=1 $(BIN)/pytest -rs tests/cluster/test_ray*.py

## test-slurm: studies on a SLURM of two nodes that is started here; SLURM=must fails where it cannot be
test-slurm: $(CLUSTERS)
	.ci/slurm.sh
	SCALELAB_SLURM=$(SLURM) OMP_NUM_THREADS=1 $(BIN)/pytest -rs tests/cluster/test_slurm*.py

## test-lowest: the suite on the lowest versions that pyproject.toml allows (PyTorch aside)
test-lowest:
	@mkdir -p build
	$(PYTHON) .ci/lowest.py > build/lowest.txt
	$(call suite_in,build/lowest,build/lowest.txt)

## test-python: the suite on another Python: make test-python PYTHON=python3.13; TORCH=FILE installs that build of it
test-python:
	@mkdir -p build
	grep -v '^torch==' constraints.txt > build/python.txt
	$(call suite_in,build/python,build/python.txt,$(TORCH))

# The suite in an environment of its own: its folder, its constraints, what to install first.
define suite_in
rm -rf $(1)
$(PYTHON) -m venv $(1)
$(if $(3),$(1)/bin/pip install --quiet --disable-pip-version-check '$(3)')
$(1)/bin/pip install --quiet --disable-pip-version-check -c $(2) -e '.[test]'
OMP_NUM_THREADS=1 $(1)/bin/pytest -n 2 --dist worksteal
endef

## reference: run the reference study from nothing, on the MIT-BIH database at MITDB, into build/reference (some five hours)
reference: $(READY)
	@test -d "$(MITDB)" || { echo "error: no MIT-BIH database at $(MITDB); give its folder: make reference MITDB=DIR"; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/reference/plugins ./examples/scalelab-transformer
	ln -sfn "$(abspath $(MITDB))" examples/ecg-reference/mitdb
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)/build/reference/plugins" examples/ecg-reference/all.sh build/reference/runs.duckdb

clean:
	rm -rf build $(VENV)
