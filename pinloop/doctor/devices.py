"""The devices: who was seen, who is silent, whose pins are not what they should be, and who commands them."""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from contract.commands import GUARD
from contract.topics import PIN_SET, Topics
from hub.presence import FOREIGN
from pinloop.doctor.ask import NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from pinloop.show import ago, held_text
from service.mqtt import Message, Session

__all__ = ["check_devices", "check_epochs"]

_RETAINED_S = 0.5


def check_devices(target: Target) -> Iterator[Finding]:
    """Ask the console for devices and pins, as `owner`."""
    url, password = target.services.get("hub"), target.passwords.get("console")
    if not url or password is None:
        return
    try:
        found = ask(f"{url}/api/devices", basic=("owner", password))
        # Only then: the console slows down who says a wrong password too often.
        pins = ask(f"{url}/api/pins", basic=("owner", password)) if found.status == 200 else found
    except NoAnswer:
        return  # the finding `hub` says it
    if found.status in (401, 403, 429):
        yield broken(
            "console password",
            f"The console refuses the password of the secrets folder ({found.status}).",
            f"The secret was changed while the hub runs: put it back, or {target.again}.",
        )
        return
    yield fine("console password", "The console takes it.")
    if found.status != 200:
        yield broken("devices", f"The console answers {found.status}.", f"Look at {target.log_of('hub')}.")
        return
    body = found.json()
    yield from _presence(body["devices"], body["now_s"])
    if pins.status == 200:
        yield from _drift(pins.json().get("pins", []), {one["device"]: one["status"] for one in body["devices"]})


def _presence(devices: Sequence[dict[str, Any]], now_s: float) -> Iterator[Finding]:
    if not devices:
        yield warning(
            "devices",
            "No device has been seen.",
            "Start one: `pinloop up` runs two virtual ones, `pinloop up --device ID` admits a board of yours.",
        )
        return
    by: dict[str, list[str]] = {}
    for one in devices:
        by.setdefault(one["status"], []).append(one["device"])
    silent = [one for one in devices if one["status"] == "online" and _silent(one["readings"], now_s)]
    if by.get("offline"):
        away = ", ".join(
            f"{one['device']} ({ago(one['since_s'], now_s) or 'since before the hub started'})"
            for one in devices
            if one["status"] == "offline"
        )
        yield broken(
            "devices away",
            f"Offline: {away}; {_meanwhile(devices)}.",
            "Look at their power, Wi-Fi and broker password; of a virtual one at its log.",
        )
    if silent:
        told = ", ".join(f"{one['device']} (last reading {ago(_newest_s(one), now_s)})" for one in silent)
        yield broken(
            "devices silent",
            f"Online without readings: {told}.",
            "Look at their sensors' wiring, and compare the user name with the device id in their topics; one that"
            " reports more seldom: the hub's setting stale_devices, as door=2d.",
        )
    seen = [f"{len(names)} {status} ({_few(names)})" for status, names in sorted(by.items()) if status != "offline"]
    if seen:
        yield fine("devices", f"Seen: {', '.join(seen)}.")


def _meanwhile(devices: Sequence[dict[str, Any]]) -> str:
    """Say what the pins of the devices that are offline do by themselves."""
    stay = [one["device"] for one in devices if one["status"] == "offline" and one["info"].get("fw") in FOREIGN]
    if not stay:
        return "their pins go to the safe value by themselves"
    return f"pins of other firmware stay as they are ({_few(stay)}), others go to the safe value by themselves"


def _silent(readings: dict[str, dict[str, Any]], now_s: float) -> bool:
    """Tell whether a device with sensors has sent nothing current from any of them."""
    return bool(readings) and all(now_s - one["t_s"] > one["stale_s"] for one in readings.values())


def _newest_s(device: dict[str, Any]) -> float:
    return max(float(one["t_s"]) for one in device["readings"].values())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _drift(pins: Sequence[dict[str, Any]], status: dict[str, str]) -> Iterator[Finding]:
    drifting = [pin for pin in pins if pin["drift_s"] is not None]
    never = [pin for pin in drifting if pin["reported"] is None and status.get(pin["device"], "unknown") == "unknown"]
    away = [pin for pin in drifting if pin not in never and status.get(pin["device"]) != "online"]
    wrong = [pin for pin in drifting if pin not in never and pin not in away]
    guarded = [pin for pin in pins if pin["held"]]
    if wrong:
        told = ", ".join(f"{_name(pin)} for {pin['drift_s']:.0f} s{_reported(pin)}" for pin in wrong)
        yield broken("pins", f"Not what they should be although the device is online: {told}.", _advice(wrong))
    if never:
        yield warning(
            "pins wanted",
            f"Somebody wants {_few([_name(pin) for pin in never])}, whose device was never heard of.",
            "Compare the name with `pinloop device list`; `pinloop pin why` says who wants it.",
        )
    if away:
        yield warning(
            "pins",
            f"Nobody knows what {_few([_name(pin) for pin in away])} is: the device is away.",
            "Look at the device; the command reaches it when it is back.",
        )
    if not drifting:
        asked = sum(pin["desired"] is not None for pin in pins)
        yield fine("pins", f"{len(pins)} pins, {asked} of them claimed; all report what they should be.")
    if guarded:
        told = "; ".join(f"{_name(pin)}: {held_text(pin['held'])}" for pin in guarded)
        yield fine("pins held", f"Wishes that wait for a guard of the webhook: {told}.")


def _name(pin: dict[str, Any]) -> str:
    return f"{pin['device']}/{pin['pin']}"


def _reported(pin: dict[str, Any]) -> str:
    return " (nothing reported)" if pin["reported"] is None else f" (reported: {pin['reported']['why']})"


def _advice(wrong: Sequence[dict[str, Any]]) -> str:
    """Say what to do about pins that differ: the webhook's guards do not make a difference, the device's own may."""
    own = [_name(pin) for pin in wrong if pin["reported"] and pin["reported"]["why"] == GUARD]
    if own:
        return (
            f"A guard on the device itself (min_on_s, min_off_s, max_on_s in its device.json) holds {_few(own)}:"
            " `pinloop device show ID` lists them; it passes by itself."
        )
    return "Ask `pinloop pin why DEVICE/PIN`, then look at the device: its log, its wiring, a hand at its button."


def check_epochs(target: Target) -> Iterator[Finding]:
    """Read the commands that stand at the broker: those of two epochs are those of two webhooks."""
    if not target.services or "svc.hub" not in target.passwords:
        return
    epochs: dict[str, str] = {}

    def take(message: Message) -> None:
        try:
            found = json.loads(bytes(message.payload) or b"{}")
        except ValueError:
            return  # a bare number of other software
        if isinstance(found, dict) and found.get("epoch"):
            epochs[str(found["epoch"])] = message.topic

    topics = [(Topics(target.mqtt.mqtt_prefix).every(PIN_SET), 1)]
    name = f"doctor-{secrets.token_hex(4)}"
    session = Session(target.signed_in("svc.hub"), name, subscriptions=topics, on_message=take)
    session.start()
    try:
        if not session.wait_connected(2.0):
            return
        time.sleep(_RETAINED_S)
    finally:
        session.stop()
    if len(epochs) > 1:
        told = ", ".join(f"{epoch} ({topic})" for epoch, topic in epochs.items())
        yield broken(
            "one webhook",
            f"Commands of {len(epochs)} claims databases stand at the broker: {told}.",
            "Two webhooks command the same devices, or one was never stopped: let only one run on this broker.",
        )
    elif epochs:
        yield fine("one webhook", "Every command at the broker is of one claims database.")
