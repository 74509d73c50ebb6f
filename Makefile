# Needs Python 3.11 or newer and make. `make help` lists the targets.
PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest -q

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv dev demo test test-slow check lint types mypy pyright format wheel-smoke bench fuzz mutants docs golden clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up: done once, and again when the dependencies change -------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("snncc needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.dev-done: pyproject.toml setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.bench-done: $(VENV)/.dev-done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

$(VENV)/.mutants-done: $(VENV)/.dev-done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mutants]'
	@touch $@

venv: $(BIN)/python ## create the virtual environment .venv

dev: $(VENV)/.dev-done ## install snncc into .venv, editable, with the tools of a developer

# --- use -------------------------------------------------------------------------------------

demo: dev ## train a small network on a simulated chip
	$(BIN)/snncc demo

bench: $(VENV)/.bench-done ## measure speed against the peers; writes benchmarks/results.json
	$(BIN)/python benchmarks/run.py

# --- checks ----------------------------------------------------------------------------------

test: dev ## run the tests (all but the slow ones)
	$(PYTEST) -n $(WORKERS) -m "not slow"

test-slow: dev ## run the slow tests, and properties on all their examples
	$(PYTEST) -n $(WORKERS) -m "slow or hypothesis" --hypothesis-profile=whole

lint: dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: mypy pyright ## mypy and pyright, both strict

mypy: dev
	$(BIN)/mypy

pyright: dev
	PYTHONPATH=tests $(BIN)/python -m guards.run_pyright

wheel-smoke: dev ## build the wheel; use it from a clean environment outside the repository
	PYTHONPATH=tests $(BIN)/python -m guards.wheel_smoke

check: lint types wheel-smoke test ## everything that a change must pass

fuzz: dev ## long random tests with a printed seed; repeat one with SEED=N
	seed=$${SEED:-$$($(PYTHON) -c "import secrets; print(secrets.randbelow(2**32))")}; \
	echo "to repeat: make fuzz SEED=$$seed"; \
	SNNCC_FUZZ_SEED=$$seed $(PYTEST) -n $(WORKERS) --hypothesis-profile=fuzz \
	  --hypothesis-seed=$$seed --timeout=0 tests/fuzz

mutants: $(VENV)/.mutants-done ## plant small faults, see whether the tests notice: SEED=1 COUNT=200; JSON=file: go on there
	PYTHONPATH=tests $(BIN)/python -m mutation.run --seed $${SEED:-1} --count $${COUNT:-200} \
	  --reached $(VENV)/mutants $(if $(JSON),--json $(JSON))

# --- generated files -------------------------------------------------------------------------

format: dev ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: dev ## regenerate docs/isa.md, errors.md, config.md and the list of rooms in layout.md
	$(BIN)/snncc isa --format md > docs/isa.md.new && mv docs/isa.md.new docs/isa.md
	$(BIN)/snncc report errors --format md > docs/errors.md.new && mv docs/errors.md.new docs/errors.md
	$(BIN)/snncc report config --format md > docs/config.md.new && mv docs/config.md.new docs/config.md
	PYTHONPATH=tests $(BIN)/python -m guards.rooms

golden: dev ## rewrite the expected files of the golden tests; read the diff before you commit it
	$(PYTEST) --update-golden tests/golden

clean: ## remove what is built, .venv included
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
