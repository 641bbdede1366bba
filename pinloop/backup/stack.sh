#!/usr/bin/env bash
# Keeps or restores the stack's volumes: `pinloop backup|restore --stack` in a one-shot container that sees them all.
#   stack.sh backup|restore FILE.tar.gz      beside docker-compose.yml; COMPOSE_* and .env hold as for docker compose
# InfluxDB's files have to stand still while they are copied: it stops for that time, and the broker keeps the readings.
set -euo pipefail
what=$1
folder=$(cd "$(dirname "$2")" && pwd)
name=$(basename "$2")
project=$(docker compose config | sed -n 's/^name: //p')
rules=$(docker compose config | grep -B 1 'target: /etc/pinloop/rules.yml' | sed -n 's/^ *source: //p')

mounts=(-v "$folder:/backup") # `secrets` is mounted there already
for volume in webhook-data rules-data listener-data devices-data grafana-data influxdb-data; do
  mounts+=(-v "${project}_$volume:/data/${volume%-data}")
done

pinloop() { # root with the rights to read everything and to give files back to their owners; nothing else
  docker compose run --rm --no-deps -T "${mounts[@]}" --entrypoint "python -m pinloop" store-setup "$@"
}

running=$(docker compose ps --status running --services)
case $what in
  backup)
    mounts+=(-v "$rules:/etc/pinloop/rules.yml:ro")
    if grep -qx influxdb <<<"$running"; then
      trap 'docker compose start influxdb >/dev/null 2>&1' EXIT
      docker compose stop influxdb >/dev/null 2>&1
    fi
    pinloop backup --stack "/backup/$name" | sed "s|/backup/|$folder/|g"
    ;;
  restore)
    if [ -n "$running" ]; then
      echo "The stack runs: stop it first with docker compose --profile demo stop" >&2
      exit 1
    fi
    docker compose --profile demo create >/dev/null 2>&1 || true # the volumes, on a new machine
    pinloop restore --stack "/backup/$name" | sed "s|/backup/|$folder/|g"
    ;;
  *)
    sed -n '3p' "$0" >&2
    exit 2
    ;;
esac
