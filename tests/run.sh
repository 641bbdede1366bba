#!/usr/bin/env bash
# Style, types, tests, coverage: what `make test` runs and what .ci/run relies on. Expects the tools on PATH.
# `run.sh long` runs the tests marked `long` instead, nothing else. TEST_COVERAGE=1 also reports the coverage.
set -euo pipefail
cd "$(dirname "$0")/.."
# Where bytecode is not kept, each of the pytest workers and some hundred services compiles everything again: a third of
# the CPU of a run.
unset PYTHONDONTWRITEBYTECODE

if [ "${1:-}" = long ]; then
  shift
  python -m firmware.sim.fetch_micropython --quiet || true
  exec python -m pytest -m long -n "${TEST_LONG_WORKERS:-2}" --dist worksteal -rs --durations 15 "$@"
fi

echo "== style and types"
# Compiled once, on the core that mypy leaves free, instead of by every worker; what fails here fails again below.
python -m pytest -qq --collect-only &>/dev/null &
compiling=$!
trap 'kill $compiling 2>/dev/null || true' EXIT
ruff check .
ruff format --check --quiet .
mypy
wait $compiling || true

echo "== tests"
if ! python -m firmware.sim.fetch_micropython --quiet; then
  echo "   no MicroPython: the tests that need it are skipped below"
fi
# Tests have their own ports and folders, so they run side by side; most of them wait for a server, not for a core.
tests=(pytest -m "not long" -n "${TEST_WORKERS:-6}" --dist worksteal -rs "$@")
if [ "${TEST_COVERAGE:-0}" = 0 ]; then
  exec python -m "${tests[@]}"
fi
# What ran is told line by line; it costs half as much time again, so CI asks for it and people need not.
rm -f .coverage .coverage.*
coverage run -m "${tests[@]}"
coverage combine --quiet
coverage report --skip-covered --skip-empty | tail -40
