#!/usr/bin/env bash
# `make doctor STACK=1`: `pinloop doctor --stack` in a one-shot container of the stack's network, which sees the broker's
# database as well. COMPOSE_*, .env and PINLOOP_DOCTOR_* hold.
#   stack.sh [OPTIONS of pinloop doctor]
set -euo pipefail
project=$(docker compose config | sed -n 's/^name: //p')
options=(-v "${project}_mosquitto-data:/mosquitto/data:ro")
for name in "${!PINLOOP_DOCTOR_@}"; do options+=(-e "$name"); done
exec docker compose run --rm --no-deps -T "${options[@]}" --entrypoint "python -m pinloop" store-setup doctor --stack "$@"
