#!/usr/bin/env bash
# `make test-stack`: the stack as a user starts it, with faults. Without Docker it says so and skips; PINLOOP_REQUIRE=1
# forbids that. As root it starts an engine of its own when none runs. Ends with a line "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$PWD/.cache/stack
started=$SECONDS

skip() {
  echo "stack: $1"
  if [ "${PINLOOP_REQUIRE:-}" = 1 ]; then
    echo "stack: PINLOOP_REQUIRE=1 forbids skipping"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
  fi
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}

command -v docker >/dev/null || skip "Docker is not installed (Debian, as root: bash tests/stack/install.sh)"
docker compose version >/dev/null 2>&1 || skip "Docker's plug-in compose is not installed (Debian, as root: bash tests/stack/install.sh)"

export PINLOOP_STACK_RUN=$cache/run PINLOOP_STACK_PROJECT=pinloop-test-$$
rm -rf "$PINLOOP_STACK_RUN"
mkdir -p "$PINLOOP_STACK_RUN"
engine=
finish() {
  local left
  left=$(docker ps -aq --filter "label=com.docker.compose.project=$PINLOOP_STACK_PROJECT" 2>/dev/null) || true
  [ -z "$left" ] || docker compose -p "$PINLOOP_STACK_PROJECT" down -v --remove-orphans -t 3 >/dev/null 2>&1 || true
  [ -z "$engine" ] || bash tests/stack/dockerd.sh stop "$cache/engine"
}
trap finish EXIT
trap 'exit 130' INT TERM

if ! timeout 5 docker info >/dev/null 2>&1; then
  { [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null; } || skip "no Docker engine answers ('docker info'), and this user cannot start one"
  exec 9>/run/pinloop-engine.lock
  flock -n 9 || { echo "stack: another run has the tests' engine; waiting for its end"; flock -w 600 9; } ||
    skip "another run has the tests' engine"
  DOCKER_HOST=$(bash tests/stack/dockerd.sh start "$cache/engine" 9>&-) || skip "dockerd does not start here"
  export DOCKER_HOST
  engine=own
fi

echo "== images"
bash tests/stack/images.sh "$PINLOOP_STACK_RUN/images.env"
cat "$PINLOOP_STACK_RUN/images.env"
COMPOSE_PROFILES=demo docker compose -p "$PINLOOP_STACK_PROJECT" --env-file tests/stack/ci.env \
  --env-file "$PINLOOP_STACK_RUN/images.env" build --quiet
images_s=$((SECONDS - started))

echo "== tests"
code=0
python -m pytest tests/stack -p no:xdist -p no:cacheprovider -rs --timeout 180 --durations=8 "$@" || code=$?
trap - EXIT
finish

python - "$PINLOOP_STACK_RUN/result.json" "$images_s" "$((SECONDS - started))" <<'PYTHON'
import json, pathlib, sys
path, images_s, total_s = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
result = json.loads(path.read_text()) if path.exists() else {"counts": {"failed": 1}, "times_s": {}}
counts, times_s = result["counts"], result["times_s"]
up_s, down_s, tests_s = times_s.get("up", 0), times_s.get("down", 0), times_s.get("session", 0)
tests_s = max(tests_s - up_s - down_s, 0)
print(f"times: images {images_s} s, up {up_s:.0f} s, tests {tests_s:.0f} s, down {down_s:.0f} s, everything {total_s} s")
failed = counts.get("failed", 0) + counts.get("error", 0)
print(f"{counts.get('passed', 0)} passed, {failed} failed, {counts.get('skipped', 0)} skipped")
PYTHON
exit "$code"
