#!/usr/bin/env bash
# `make apply`: has the running stack take over what its owner changed in .env, rules.yml, routes.yml, pins.yml and
# inputs.toml. A mistake in one of the files ends it before anything has changed. COMPOSE_* hold as for docker compose.
set -euo pipefail
# shellcheck disable=SC2016
docker compose run --rm --no-deps -T --entrypoint sh setup -ec '
  for file in rules.yml routes.yml pins.yml inputs.toml; do
    python -m pinloop "${file%.*}" check "/etc/pinloop/$file"
  done'
docker compose up --detach                             # .env; and `setup` writes the broker's users and rights anew
docker compose exec -T mosquitto sh -c 'kill -HUP 1'   # the broker reads them
# Who was made anew comes up first: mosquitto 2.0.11 once ended other connections every second after a service was
# stopped while it was connecting (its issue 2911). Who is unhealthy without the restart below gets it all the same.
docker compose up --detach --wait || true
docker compose restart listener rules webhook          # a mounted file that an editor has replaced is seen at a start
docker compose up --detach --wait
