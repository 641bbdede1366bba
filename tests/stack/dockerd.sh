#!/usr/bin/env bash
# A Docker engine of the tests' own, as root: its own socket, data, bridge and addresses, beside any other engine.
#   dockerd.sh start FOLDER    prints the DOCKER_HOST; images and layers stay in FOLDER for the next time
#   dockerd.sh stop FOLDER     stops it and removes its bridge
set -euo pipefail
folder=$(mkdir -p "$2" && cd "$2" && pwd)
run=/run/pinloop-engine # short: a socket's path has 107 characters at most
socket=$run/docker.sock
bridge=pinloop0

stop() {
  if [ -s "$run/pid" ] && kill "$(cat "$run/pid")" 2>/dev/null; then
    for _ in $(seq 150); do [ -e "/proc/$(cat "$run/pid" 2>/dev/null || echo none)" ] || break; sleep 0.1; done
  fi
  ip link delete "$bridge" 2>/dev/null || true
  rm -rf "$run"
}

start() {
  stop
  mkdir -p "$run"
  ip link add "$bridge" type bridge
  ip addr add 10.231.0.1/24 dev "$bridge"
  ip link set "$bridge" up
  device=$(ip route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
  mtu=$(cat "/sys/class/net/$device/mtu" 2>/dev/null || echo 1500)
  # Nothing of this engine's is in a range that another one takes by default.
  setsid dockerd --host "unix://$socket" --data-root "$folder/data" --exec-root "$run/exec" --pidfile "$run/pid" \
    --bridge "$bridge" --mtu "$mtu" --default-address-pool base=10.231.64.0/18,size=24 \
    </dev/null >"$folder/dockerd.log" 2>&1 &
  for _ in $(seq 200); do
    if DOCKER_HOST=unix://$socket timeout 2 docker info >/dev/null 2>&1; then
      echo "unix://$socket"
      return
    fi
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  echo "stack: dockerd did not start:" >&2
  tail -n 5 "$folder/dockerd.log" >&2
  stop
  return 1
}

"$1"
