# `make` lists what there is to make. Everything is put into ./.venv and ./var; nothing is
# installed on the machine.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Python compiles a module when it first imports it: of most packages here that is a small part, and
# compiling all of them takes longer than the rest of an installation.
INSTALL := install --no-compile
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip

# More options for pytest, as in: make test PYTEST_ARGS='-k money'
PYTEST_ARGS ?=
# Tests start servers and databases of their own, so more workers than this gain nothing.
WORKERS ?= 4
# Each worker begins with a stretch of its own, so that what a module sets up is set up once; who is
# done takes from the others' ends.
SHARING := --numprocesses auto --maxprocesses $(WORKERS) --dist worksteal
# `make lock UPGRADE=--upgrade` takes newer releases; otherwise only what pyproject.toml changed.
UPGRADE ?=

LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install serve test stress lint format openapi schema bench demo lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- The environment -----------------------------------------------------------------------------

install: $(INSTALLED) ## create .venv from the lock files (PYTHON=python3.12 picks the Python)

# Without Python's headers durable-rules can't be compiled. The service runs all the same, on its
# plain interpreter, so everything else is installed, and the reason is said.
$(LOCKED): requirements/build.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "make: \`$(PYTHON)\` has to be Python 3.11, 3.12 or 3.13; name one: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: \`$(PYTHON)\` can't create virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "==> 1/3 $(VENV): $$($(PYTHON) --version) and the tools that build packages"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(INSTALL) --quiet --require-hashes -r requirements/build.txt
	@cp requirements/dev.txt $(VENV)/lock.txt
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; sys.exit(sys.version_info < (3, 13) and not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || { \
	  echo "make: Python.h is missing, so the Rete matcher can't be compiled; the plain interpreter answers." >&2; \
	  echo "make: to have it, on Debian and Ubuntu: apt install python3-dev; then: make clean install" >&2; \
	  awk '/^[^ ]/ { skip = /^durable-rules==/ } !skip' requirements/dev.txt > $(VENV)/lock.txt; }
	@echo "==> 2/3 $(VENV): $$(grep -c '==' $(VENV)/lock.txt) locked packages; this takes one or two minutes"
	@$(PIP) $(INSTALL) --progress-bar off --no-build-isolation --require-hashes -r $(VENV)/lock.txt
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	@echo "==> 3/3 $(VENV): policy-engine itself, editable"
	@$(PIP) $(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# --- Running -------------------------------------------------------------------------------------

serve: export POLICY_ENGINE_DATABASE_URL ?= sqlite:///var/policy-engine.db
serve: install ## serve on this machine: development key, embedded database under ./var
	@mkdir -p var
	$(BIN)/policy-engine db upgrade
	$(BIN)/policy-engine serve --dev

demo: install ## fill var/demo with a quarter of decisions and grants, and all that is made of it
	$(BIN)/python -m bench.demo

# --- Checking ------------------------------------------------------------------------------------

test: install ## run all tests, those on PostgreSQL included
	$(BIN)/pytest $(SHARING) $(PYTEST_ARGS)

stress: install ## run the soaks and floods, some minutes each
	$(BIN)/pytest -m stress --timeout 1800 $(PYTEST_ARGS)

lint: install ## check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: install ## put the code in the house's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install ## measure throughput and latency
	$(BIN)/python -m bench.run

# --- Generated files -----------------------------------------------------------------------------

# The document follows from routes and schemas alone; no service has to be built behind them.
define WRITE_OPENAPI
from policy_engine.api.app import create_app
from policy_engine.api.documents import document_text
print(document_text(create_app(None).extensions["api"]), end="")
endef
export WRITE_OPENAPI

openapi: install ## write openapi.yaml from the code
	@mkdir -p var
	$(BIN)/python -c "$$WRITE_OPENAPI" > var/openapi.yaml
	mv var/openapi.yaml openapi.yaml

schema: install ## write docs/schema, which editors check policy files against
	$(BIN)/policy-engine pack schema docs/schema

COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --custom-compile-command 'make lock' $(UPGRADE)

lock: ## write the lock files anew (requirements/README.md says when)
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) pyproject.toml --all-extras --group pyproject.toml:dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml --all-extras -c requirements/dev.txt -o requirements/runtime.txt

clean: ## remove environments and caches; ./var, which holds the database, stays
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find policy_engine tests migrations bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
