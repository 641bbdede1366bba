#!/usr/bin/env bash
# Keeps or restores the stack's volumes: `pinloop backup|restore --stack` in a one-shot container that sees them all.
#   stack.sh backup|restore FILE.tar.gz      beside docker-compose.yml; COMPOSE_* and .env hold as for docker compose
# InfluxDB's files have to stand still while they are copied: it stops for that time, and the broker keeps the readings.
set -euo pipefail
what=$1
folder=$(cd "$(dirname "$2")" && pwd)
name=$(basename "$2")
config=$(docker compose config)
project=$(sed -n 's/^name: //p' <<<"$config")

mounts=(-v "$folder:/backup") # `secrets` is mounted there already
for volume in webhook-data rules-data listener-data devices-data grafana-data influxdb-data; do
  mounts+=(-v "${project}_$volume:/data/${volume%-data}")
done

# The owner's files, by where they are: below this folder (/own), or elsewhere.
mount_own() { # PATH NAME
  [ -f "$1" ] || return 0
  case $1 in
    "$PWD"/*) mounts+=(-v "$1:/own/${1#"$PWD"/}:ro") ;;
    *) mounts+=(-v "$1:/elsewhere/$2:ro") ;;
  esac
}

pinloop() { # root with the rights to read everything and to give files back to their owners; nothing else
  docker compose run --rm --no-deps -T "${mounts[@]}" --entrypoint "python -m pinloop" store-setup "$@" |
    sed "s|/backup/|$folder/|g"
}

running=$(docker compose ps --status running --services)
case $what in
  backup)
    for file in rules.yml routes.yml pins.yml inputs.toml; do
      mount_own "$(grep -B 1 "target: /etc/pinloop/$file" <<<"$config" | sed -n '1s/^ *source: //p')" "$file"
    done
    for file in .env docker-compose.override.yml; do mount_own "$PWD/$file" "$file"; done
    if grep -qx influxdb <<<"$running"; then
      trap 'docker compose start influxdb >/dev/null 2>&1' EXIT
      docker compose stop influxdb >/dev/null 2>&1
    fi
    pinloop backup --stack "/backup/$name"
    ;;
  restore)
    if [ -n "$running" ]; then
      echo "The stack runs: stop it first with docker compose --profile demo stop" >&2
      exit 1
    fi
    docker compose --profile demo create >/dev/null 2>&1 || true # the volumes, on a new machine
    mounts+=(-v "$PWD:/own")
    pinloop restore --stack "/backup/$name"
    ;;
  *)
    sed -n '3p' "$0" >&2
    exit 2
    ;;
esac
