# Each target does all of its own set-up: system packages (apt, as root or with sudo), a virtual environment in .venv,
# node's packages in node_modules.
#   make demo    the main job on a local site with real containers
#   make test    all checks and tests
#   make lint    the checks alone
#   make types   the TypeScript types of the server extension's API, after a change of its operations
#   make bench   the figures of the README
#   make clean   stops what was started and removes what was made here

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_NODE := node_modules/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

export PYTHON
# without bytecode files each process compiles all that it imports
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := test
.PHONY: demo test lint types bench clean setup setup-dev packages packages-dev docker

demo: setup
	$(BIN)/chi-edge-lab demo --check

test: lint docker
	$(BIN)/python -m pytest

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHON=$(BIN)/python npm run --silent types:check

types: setup-dev
	PYTHON=$(BIN)/python npm run --silent types

bench: setup-dev docker
	$(BIN)/python -m benchmarks

# Without Docker the tests that need it say so, one by one; in CI they fail.
docker: setup-dev
	@scripts/docker-engine.sh start || true

setup: packages $(READY)

setup-dev: packages $(READY_DEV) $(READY_NODE)

packages:
	@scripts/system-packages.sh

packages-dev:
	@scripts/system-packages.sh dev

# the order of `packages` before the environment matters: it brings the module venv
$(READY): pyproject.toml | packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; say which with PYTHON=..." >&2; exit 1; }
	@echo "Making the virtual environment $(VENV): pip brings about 60 packages, which takes a minute or two ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) .
	@touch $@

$(READY_DEV): $(READY)
	@echo "Adding the tools for tests and checks ..."
	@$(PIP) '.[dev]'
	@touch $@

$(READY_NODE): package.json package-lock.json | packages-dev
	@echo "Adding node's packages ..."
	@npm ci --silent --no-progress
	@touch $@

clean:
	@scripts/docker-engine.sh stop
	@if [ -x $(BIN)/chi-edge-lab ]; then for profile in chi-edge zun; do \
		$(BIN)/chi-edge-lab site stop --profile $$profile >/dev/null 2>&1 || true; done; fi
	rm -rf $(VENV) node_modules .cache build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
