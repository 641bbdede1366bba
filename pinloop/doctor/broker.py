"""The broker: does it let us in and nobody else, does it keep each user to their topics, is it quick.

A broker acknowledges a publish that it drops, so rights can only be seen from the other side. Two connections do it:
the hub's, which hears everything, and the doctor's own, which has the rights of any device. Nothing is retained, no
service listens to the topics that are used.
"""

import dataclasses
import secrets
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

from contract.topics import CMD, LOG, Topics
from pinloop.broker_files import DOCTOR_DEVICE, SERVICE_USERS
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from service.mqtt import Message, NotConnected, Session
from service.settings import MqttSettings

__all__ = ["check_broker"]

_SIGN_IN_S = 3.0
_ECHO_S = 3.0
_SILENT = f"no answer within {_SIGN_IN_S:g} s"
_FOREIGN_DEVICE = f"{DOCTOR_DEVICE}-2"
_HUB = "svc.hub"
# The first packets of a connection are acknowledged at once by the kernel and would look quick.
_TURNS_SKIPPED, _TURNS = 20, 20
_TURNS_MOST_S = 4.0
_SLOW_MS = 20.0


class _Line:
    """A connection of its own name that remembers what it heard."""

    def __init__(self, settings: MqttSettings, filters: tuple[str, ...] = ()) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.news = threading.Condition()
        self.answer: tuple[str, str] | None = None  # (topic, topic): a message on the first is answered on the second
        # A fixed name would make two doctors throw one another out.
        self._session = Session(
            settings,
            f"doctor-{secrets.token_hex(4)}",
            subscriptions=[(one, 1) for one in filters],
            on_message=self._message,
        )

    def __enter__(self) -> "_Line":
        self._session.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.stop()

    def refused(self) -> str | None:
        """Wait for the broker's answer; return None when it let us in, else why not."""
        deadline_s = time.monotonic() + _SIGN_IN_S
        while time.monotonic() < deadline_s and not self._session.refusal:
            if self._session.wait_connected(0.02):
                return None
        return self._session.refusal or _SILENT

    def say(self, topic: str, text: str) -> bool:
        """Publish; return whether the broker acknowledged it."""
        try:
            return self._session.publish(topic, text.encode()).wait(_ECHO_S)
        except NotConnected:
            return False

    def hears(self, topic: str, text: str, timeout_s: float = _ECHO_S) -> bool:
        """Return whether that message came, waiting for it."""
        with self.news:
            return self.news.wait_for(lambda: (topic, text.encode()) in self.heard, timeout_s)

    def _message(self, message: Message) -> None:
        if self.answer and message.topic == self.answer[0]:
            self._session.publish(self.answer[1], bytes(message.payload))
        with self.news:
            self.heard.append((message.topic, bytes(message.payload)))
            self.news.notify_all()


def check_broker(target: Target) -> Iterator[Finding]:
    """Look at the broker from outside; what follows from an earlier finding is not looked at."""
    address = f"{target.mqtt.mqtt_host}:{target.mqtt.mqtt_port}"
    try:
        socket.create_connection((target.mqtt.mqtt_host, target.mqtt.mqtt_port), _SIGN_IN_S).close()
    except OSError as error:
        yield broken(
            "broker",
            f"{address} does not answer ({(error.strerror or str(error)).lower()}).",
            f"Look at {target.log_of('broker' if target.layout else 'mosquitto')}, then {target.again}.",
        )
        return
    known = [user for user in (*SERVICE_USERS, DOCTOR_DEVICE) if user in target.passwords]
    refused = {}
    for user in known:
        with _Line(target.signed_in(user)) as line:
            why = line.refused()
        if why == _SILENT:
            yield broken(
                "broker",
                f"{address} takes connections and does not answer on them within {_SIGN_IN_S:g} s.",
                "It hangs, is overloaded, or is another program: look at "
                f"{target.log_of('broker' if target.layout else 'mosquitto')}, then {target.again}.",
            )
            return
        if why:
            refused[user] = why
    if refused:
        user, why = next(iter(refused.items()))
        yield broken(
            "broker",
            f"{address} does not let {', '.join(refused)} in ({user}: {why}).",
            "The password file and the secrets differ: put the secret back, or " + _renew(target) + ".",
        )
    else:
        yield fine("broker", f"{address} answers and lets {', '.join(known)} in.")
    yield from _strangers(target)
    if _HUB in known and DOCTOR_DEVICE in known and not {_HUB, DOCTOR_DEVICE} & refused.keys():
        yield from _Rights(target).look()
    elif DOCTOR_DEVICE not in known:
        yield warning(
            "broker rights",
            f"They cannot be tried: the broker's user {DOCTOR_DEVICE} is not there yet.",
            f"It is made at the next start: {_renew(target)}.",
        )


def _renew(target: Target) -> str:
    if target.mode == "local":
        return target.again
    return f"{target.again}, then `docker compose exec mosquitto sh -c 'kill -HUP 1'`"


def _strangers(target: Target) -> Iterator[Finding]:
    """Nobody may come in without a name, or with a wrong password."""
    for who, user, password in (("somebody without a name", "", ""), (f"{_HUB} with a wrong password", _HUB, "wrong")):
        settings = dataclasses.replace(target.mqtt, mqtt_user=user, mqtt_password=password)
        with _Line(settings) as line:
            if line.refused() is None:
                yield broken(
                    "broker strangers",
                    f"The broker lets {who} in: everybody on its network can switch every pin.",
                    "Set `allow_anonymous false` and a password_file in mosquitto.conf, and restart the broker.",
                )
                return
    yield fine("broker strangers", "Nobody gets in without a name or with a wrong password.")


class _Rights:
    """The ACL and the round trip, seen from both sides."""

    def __init__(self, target: Target) -> None:
        self._target = target
        build = Topics(target.mqtt.mqtt_prefix).build
        self._cmd, self._log = build(CMD, DOCTOR_DEVICE), build(LOG, DOCTOR_DEVICE)
        self._foreign_cmd, self._foreign_log = build(CMD, _FOREIGN_DEVICE), build(LOG, _FOREIGN_DEVICE)
        self._word = "doctor " + secrets.token_hex(4)

    def look(self) -> Iterator[Finding]:
        """Say whether everybody reaches their own topics and no other, and how long a message takes."""
        mine = (self._cmd, self._foreign_cmd)
        every = (self._cmd, self._log, self._foreign_cmd, self._foreign_log)
        with ExitStack() as stack:
            hub = stack.enter_context(_Line(self._target.signed_in(_HUB), every))
            device = stack.enter_context(_Line(self._target.signed_in(DOCTOR_DEVICE), mine))
            if hub.refused() or device.refused():
                return
            stops = self._own(hub, device)
            leaks = [] if stops else self._foreign(hub, device)
            if stops:
                yield broken("broker rights", " ".join(stops), self._advice())
            elif leaks:
                yield broken("broker rights", " ".join(leaks), self._advice())
            else:
                yield fine("broker rights", "A device reaches its own topics and no other's; services keep to theirs.")
            if not stops:
                yield self._round_trip(hub, device)

    def _own(self, hub: _Line, device: _Line) -> list[str]:
        """Return what should arrive and does not; the echo is also what says that the subscriptions stand."""
        found = []
        if not self._arrives(device, hub, self._log):
            found.append("What a device publishes below its own name does not reach the hub.")
        if not self._arrives(hub, device, self._cmd):
            found.append("What the hub sends a device does not reach it.")
        return found

    def _arrives(self, speaker: _Line, hearer: _Line, topic: str) -> bool:
        """Say a word until it is heard: the first may come before the other side's subscription."""
        deadline_s = time.monotonic() + _ECHO_S
        while time.monotonic() < deadline_s:
            speaker.say(topic, self._word)
            if hearer.hears(topic, self._word, 0.5):
                return True
        return False

    def _foreign(self, hub: _Line, device: _Line) -> list[str]:
        """Return what arrives and should not.

        Each try is followed by a permitted message on the same way: once that is there, the other one would be.
        """
        found = []
        trial, after = self._word + " foreign", self._word + " after"
        device.say(self._foreign_log, trial)
        device.say(self._log, after)
        if not hub.hears(self._log, after):
            return ["The broker stopped handing messages on while it was asked."]
        if hub.hears(self._foreign_log, trial, 0):
            found.append("A device can publish in the name of another device.")
        hub.say(self._foreign_cmd, trial)
        hub.say(self._cmd, after)
        if device.hears(self._cmd, after) and device.hears(self._foreign_cmd, trial, 0):
            found.append("A device can read the commands of another device.")
        if "svc.rules" in self._target.passwords:
            with _Line(self._target.signed_in("svc.rules")) as rules:
                if rules.refused() is None:
                    rules.say(self._cmd, trial)
                    hub.say(self._cmd, after + " rules")
                    if hub.hears(self._cmd, after + " rules") and hub.hears(self._cmd, trial, 0):
                        found.append("The rules can send commands to devices.")
        return found

    def _round_trip(self, hub: _Line, device: _Line) -> Finding:
        device.answer = (self._cmd, self._log)
        took_ms: list[float] = []
        began_s = time.monotonic()
        while len(took_ms) < _TURNS_SKIPPED + _TURNS and time.monotonic() - began_s < _TURNS_MOST_S:
            word, sent_s = f"{self._word} turn {len(took_ms)}", time.perf_counter()
            hub.say(self._cmd, word)
            if not hub.hears(self._log, word):
                return broken("broker round trip", "A message went out and its answer did not come.", self._advice())
            took_ms.append((time.perf_counter() - sent_s) * 1000)
        middle_ms = statistics.median(took_ms[_TURNS_SKIPPED:] or took_ms)
        saw = f"There and back over the broker takes {middle_ms:.1f} ms (median of {len(took_ms)})."
        if middle_ms < _SLOW_MS:
            return fine("broker round trip", saw)
        return warning(
            "broker round trip",
            saw,
            "40 or 80 ms are small packets that wait for one another: set `set_tcp_nodelay true` in mosquitto.conf.",
        )

    def _advice(self) -> str:
        return f"Compare the broker's ACL with mosquitto/acl; to have it written anew, {_renew(self._target)}."
