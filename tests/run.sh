#!/usr/bin/env bash
# Style, types, tests, coverage: what `make test` runs and what .ci/run relies on. Expects the tools on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== style and types"
ruff check .
ruff format --check --quiet .
mypy

echo "== tests"
if ! python -m firmware.sim.fetch_micropython --quiet; then
  echo "   no MicroPython: the tests that need it are skipped below"
fi
rm -f .coverage .coverage.*
# Two workers; a test's processes have their own ports and folders. Services started by tests are covered as well.
export COVERAGE_PROCESS_START="$PWD/pyproject.toml"
coverage run -m pytest -n "${TEST_WORKERS:-4}" --dist worksteal -rs "$@"
coverage combine --quiet
coverage report --skip-covered --skip-empty | tail -40
