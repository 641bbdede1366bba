# Pinloop. `make` lists the targets; `make up` and `make test` do all the set-up that they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UP ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: $(VENV)/.local ## Run the whole loop here, no Docker, no root; Ctrl-C stops it (options: make up UP="--hub-port 9000")
	@$(BIN)/pinloop up $(UP)

.PHONY: demo
demo: $(VENV)/.local ## Show one turn of the loop as a timeline, then stop
	@$(BIN)/pinloop demo

.PHONY: test
test: $(VENV)/.dev ## Check style and types, run the tests (TEST_COVERAGE=1: and report coverage)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/run.sh

.PHONY: test-long
test-long: $(VENV)/.dev ## The tests that take minutes: chaos, kills in a loop, floods, backups
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/run.sh long

.PHONY: test-stack
test-stack: $(VENV)/.dev ## Run docker compose up for real, break everything in turn, and see that nothing is lost
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/stack/run.sh

.PHONY: fault-table
fault-table: $(VENV)/.dev ## Break single parts, then the stack, and write docs/fault-table.md from what was seen
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m tests.support.fault_table --write
	@PATH="$(CURDIR)/$(BIN):$$PATH" PINLOOP_FAULT_TABLE=write bash tests/stack/run.sh

.PHONY: check
check: $(VENV)/.dev ## Style and types only
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

FILE ?= pinloop-backup.tar.gz
STACK ?=
DOCTOR ?=

.PHONY: backup
backup: ## Keep everything in one file, also while it runs (make backup FILE=kept.tar.gz; the stack: STACK=1)
	@$(if $(STACK),bash pinloop/backup/stack.sh backup "$(FILE)",$(MAKE) -s $(VENV)/.local && $(BIN)/pinloop backup "$(FILE)")

.PHONY: restore
restore: ## Make it what it was then; it must not run (make restore FILE=kept.tar.gz; the stack: STACK=1)
	@$(if $(STACK),bash pinloop/backup/stack.sh restore "$(FILE)",$(MAKE) -s $(VENV)/.local && $(BIN)/pinloop restore "$(FILE)")

.PHONY: apply
apply: ## The stack takes over what you changed in .env, rules, routes, pins and inputs, once all of them are good
	@bash pinloop/apply.sh

.PHONY: doctor
doctor: ## Ask the running system whether everything works, and say what to do (the stack: STACK=1)
	@$(if $(STACK),bash pinloop/doctor/stack.sh $(DOCTOR),$(MAKE) -s $(VENV)/.local && $(BIN)/pinloop doctor $(DOCTOR))

.PHONY: bench
bench: $(VENV)/.dev ## Measure the reaction time, reading to pin
	@$(BIN)/python -m bench.reaction

.PHONY: docs
docs: $(VENV)/.dev ## Write what is generated: settings and command pages, dashboards, broker files
	@$(BIN)/python -m tests.support.generated --write
	@$(BIN)/python -m grafana.build
	@$(BIN)/python -m pinloop.broker_files

.PHONY: screenshots
screenshots: $(VENV)/.dev ## Take the console's pictures in docs/img with Chromium
	@$(BIN)/python -m tests.browser.screenshots

.PHONY: micropython
micropython: $(VENV)/.local ## Fetch the real MicroPython for the virtual devices (Debian and Ubuntu, no root)
	@$(BIN)/python -m firmware.sim.fetch_micropython

.PHONY: clean
clean: ## Remove what was installed and built here; data/ stays
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Pinloop needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt install python3-venv" >&2; exit 1; }

$(VENV)/.local: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Pinloop into $(VENV) (once, about half a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Pinloop and its test tools into $(VENV) (once, about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.local
