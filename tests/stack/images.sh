#!/usr/bin/env bash
# Says which images the stack is tested with, as lines NAME=IMAGE for `docker compose --env-file`.
#   images.sh OUTPUT    STACK_IMAGES=upstream pulls those of docker-compose.yml, =local makes stand-ins out of Debian's
#                       packages; unset: upstream when a registry answers, else local
# A stand-in is made once: its tag is a digest of what it is made from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=$1
upstream() { sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" "$here/../../docker-compose.yml" | head -n 1; }

mode=${STACK_IMAGES:-}
if [ -z "$mode" ]; then
  if timeout 120 docker pull -q "$(upstream MOSQUITTO_IMAGE)" >/dev/null 2>&1; then mode=upstream; else mode=local; fi
fi

if [ "$mode" = upstream ]; then
  alertmanager=prom/alertmanager:v0.28.1
  for image in "$(upstream PYTHON_IMAGE)" "$(upstream INFLUXDB_IMAGE)" "$(upstream GRAFANA_IMAGE)" "$alertmanager"; do
    docker pull -q "$image"
  done
  printf '%s\n' STACK_IMAGES=upstream "ALERTMANAGER_IMAGE=$alertmanager" COMPOSE_PROFILES=demo,upstream >"$output"
  exit
fi

digest=$(cat "$0" "$here"/standins/* /usr/local/share/ca-certificates/* 2>/dev/null | sha256sum | cut -c 1-12)
python=pinloop-standin-python:$digest
mirror=$(sh "$here/mirror.sh")

if ! docker image inspect "$python" >/dev/null 2>&1; then
  # In place of python:3-slim: Debian 13's Python, pip, and the certificate authorities of this machine's own.
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,ca-certificates \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --customize-hook='copy-in /usr/local/share/ca-certificates /usr/local/share' \
    --customize-hook='chroot "$1" update-ca-certificates >/dev/null' \
    --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; ln -sf python3 "$1/usr/bin/python"' \
    trixie "$scratch/root.tar" "$mirror"
  docker import -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' -c 'CMD ["python"]' \
    "$scratch/root.tar" "$python" >/dev/null
fi

for name in mosquitto influxdb alertmanager; do
  image=pinloop-standin-$name:$digest
  docker image inspect "$image" >/dev/null 2>&1 ||
    docker build -q --build-arg "PYTHON_IMAGE=$python" --target "$name" -t "$image" "$here/standins" >/dev/null
  echo "${name^^}_IMAGE=$image"
done >"$output"
printf '%s\n' STACK_IMAGES=local "PYTHON_IMAGE=$python" COMPOSE_PROFILES=demo >>"$output"
