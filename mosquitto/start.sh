#!/bin/sh
# Starts the stack's broker, and has it save as soon as the listener's session stands.
#
# It saves every 10 s (autosave_interval). Killed before the first time it comes back without the session, and what it
# acknowledges until the listener is there has no taker. So it is asked to save each second until its database holds
# the listener's subscription, which no other client keeps. Needs no rights: both processes are of one user.
set -eu

answers() {
  mosquitto_sub -h 127.0.0.1 -u svc.health -P "$(cat /secrets/mosquitto/mqtt_health)" \
    -t '$SYS/broker/uptime' -C 1 -W 3 >/dev/null 2>&1
}

save() {
  until answers; do sleep 0.5; done # a signal sooner would end it
  until grep -qs '+/readings' /mosquitto/data/mosquitto.db; do
    kill -USR1 $$
    sleep 1
  done
}

(save &) # a child of the init process, which collects it, not of the broker
exec mosquitto -c /mosquitto/config/mosquitto.conf
