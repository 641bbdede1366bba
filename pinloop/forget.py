"""`pinloop pin forget` and `pinloop device forget`: clear what is retained of a pin or a device that is no more.

What a device says of itself belongs to it: only its own broker user may clear it, so these commands sign in as the
device, with the password that `pinloop up` keeps.
"""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pinloop.client import HubClient, find_hub
from pinloop.errors import PinloopError
from pinloop.show import hub_options

__all__ = ["forget_device", "forget_pin"]

_GONE_S = 3.0
_SIGN_IN_S = 5.0


@click.command("forget")
@click.argument("name", metavar="DEVICE/PIN")
@hub_options
def forget_pin(name: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Clear what a pin left that its device has no more.

    Its last report is retained at the broker, so it is listed until somebody clears it. Signs in there as the device,
    with its password of --data-dir.

    \b
    Example:
      pinloop pin forget kettle/power
    """
    from contract.topics import PIN_STATE, Topics

    hub = find_hub(url, data_dir)
    one = next((one for one in _pins(hub) if _name(one) == name), None)
    if one is None:
        raise PinloopError(f"there is no pin '{name}'", "See what there is with `pinloop pin list`.")
    if one["declared"]:
        raise PinloopError(
            f"{name}: its device declares it, so it would come back",
            "Take it out of the device's configuration (or of routes.yml) first.",
        )
    _unclaimed([one])
    topics = [Topics().build(PIN_STATE, one["device"], one["pin"])]
    _clear(data_dir, one["device"], topics, lambda: name not in map(_name, _pins(hub)))
    _said(name, json_wanted)


@click.command("forget")
@click.argument("device", metavar="ID")
@hub_options
def forget_device(device: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Clear what a device left that is no more.

    Its status, what it is and the last reports of its pins are retained at the broker, so it is listed as offline until
    somebody clears them. Signs in there as the device, with its password of --data-dir. What it measured stays stored.

    \b
    Example:
      pinloop device forget greenhouse
    """
    from contract.topics import INFO, PIN_STATE, STATUS, Topics

    hub = find_hub(url, data_dir)
    one = next((one for one in _devices(hub) if one["device"] == device), None)
    if one is None:
        raise PinloopError(f"there is no device '{device}'", "See what there is with `pinloop device list`.")
    if one["status"] not in ("offline", "unknown"):
        raise PinloopError(f"{device} is {one['status']}, so it would come back", "Switch it off first.")
    pins = [one for one in _pins(hub) if one["device"] == device]
    _unclaimed(pins)
    build = Topics().build
    # The status goes last: with it the device leaves the list.
    topics = [*(build(PIN_STATE, device, one["pin"]) for one in pins), build(INFO, device), build(STATUS, device)]
    _clear(data_dir, device, topics, lambda: _is_gone(hub, device))
    _said(device, json_wanted)


def _is_gone(hub: HubClient, device: str) -> bool:
    """Tell whether nothing is retained of it; one that was stored within a day is listed with its readings."""
    left = [one["status"] for one in _devices(hub) if one["device"] == device]
    return left in ([], ["unknown"]) and not any(one["device"] == device for one in _pins(hub))


def _devices(hub: HubClient) -> list[dict[str, Any]]:
    return list(hub.get("/devices")["devices"])


def _pins(hub: HubClient) -> list[dict[str, Any]]:
    return list(hub.get("/pins")["pins"])


def _name(pin: dict[str, Any]) -> str:
    return f"{pin['device']}/{pin['pin']}"


def _unclaimed(pins: Sequence[dict[str, Any]]) -> None:
    """Refuse while somebody asks for one of them."""
    for pin in pins:
        if pin["desired"]:
            raise PinloopError(
                f"{_name(pin)}: {pin['desired']['source']} ({pin['desired']['slot']}) asks for it",
                "Let the alert end, or `pinloop pin release` your own claim.",
            )


def _clear(data_dir: Path, device: str, topics: Sequence[str], gone: Callable[[], bool]) -> None:
    """Clear `topics` as the device, and wait until the hub has heard of it."""
    from pinloop.local.layout import Layout
    from service import logs
    from service.mqtt import Session
    from service.settings import LogSettings, MqttSettings

    by_hand = "\n  ".join(
        ["Clear by hand:", *(f"mosquitto_pub -u {device} -P PASSWORD -q 1 -r -n -t {topic}" for topic in topics)]
    )
    try:
        facts = json.loads((data_dir / "running.json").read_text(encoding="utf-8"))["mqtt"]
        password = Layout(data_dir, data_dir).password(device).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, KeyError) as error:
        raise PinloopError(f"the broker's user '{device}' is not known here ({error})", by_hand) from None
    logs.setup("forget", LogSettings(log_level="error", log_format="human"))
    where = MqttSettings(mqtt_host=facts["host"], mqtt_port=facts["port"])
    session = Session(replace(where, mqtt_user=device, mqtt_password=password), f"forget-{secrets.token_hex(4)}")
    session.start()
    try:
        if not session.wait_connected(_SIGN_IN_S):
            raise PinloopError(f"the broker does not let '{device}' in: {session.problem()}")
        for topic in topics:
            session.publish(topic, b"", retain=True).wait(_SIGN_IN_S)
    finally:
        session.stop()
    deadline_s = time.monotonic() + _GONE_S
    while not gone():
        if time.monotonic() > deadline_s:
            raise PinloopError("the broker did not clear it", by_hand)
        time.sleep(0.05)


def _said(name: str, json_wanted: bool) -> None:
    click.echo(json.dumps({"forgotten": name}) if json_wanted else f"{name}: forgotten")
