#!/usr/bin/env bash
# Installs on Debian, as root, what `make test-stack` needs: Docker's engine, the tools that make base images, and the
# plug-ins compose and buildx. Debian 12 has no packages of the two: they are taken out of Debian 13's, whose programs
# are linked statically enough to run here, and put where Docker looks for a user's own. What is there already stays.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
made=() # gone at the end
trap 'rm -rf "${made[@]}"' EXIT

missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v docker >/dev/null || [ "$(. /etc/os-release && echo "${VERSION_ID%%.*}")" -lt 13 ] || missing+=(docker-cli)
command -v iptables >/dev/null || missing+=(iptables)
command -v ip >/dev/null || missing+=(iproute2)
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap uidmap)
if [ "${#missing[@]}" -gt 0 ]; then
  # Debian must not start the engine: the tests start one of their own when none runs.
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { made+=("$policy"); printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
if ! docker compose version >/dev/null 2>&1 || ! docker buildx version >/dev/null 2>&1; then
  scratch=$(mktemp -d)
  made+=("$scratch")
  mkdir -p "$scratch"/{lists/partial,cache/archives/partial,debs,unpacked}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(sh "$here/mirror.sh") trixie main" >"$scratch/sources.list"
  apt=(apt-get -qq -o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root
    -o Acquire::Languages=none)
  "${apt[@]}" update
  (cd "$scratch/debs" && "${apt[@]}" download docker-compose docker-buildx)
  for package in "$scratch"/debs/*.deb; do dpkg-deb -x "$package" "$scratch/unpacked"; done
  mkdir -p "$plugins"
  find "$scratch/unpacked" -path '*/cli-plugins/docker-*' -type f -exec install -m 755 -t "$plugins" {} +
fi
docker --version
docker compose version
docker buildx version
