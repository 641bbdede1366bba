"""`pinloop pin forget`: clears what a pin left at the broker that its device declares no more.

A report is retained and belongs to the device: only its own broker user may clear it, so this command signs in as
the device, with the password that `pinloop up` keeps.
"""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import click

from pinloop.client import HubClient, find_hub
from pinloop.errors import PinloopError
from pinloop.show import hub_options

__all__ = ["forget"]

_GONE_S = 3.0
_SIGN_IN_S = 5.0


@click.command()
@click.argument("name", metavar="DEVICE/PIN")
@hub_options
def forget(name: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Clear what a pin left that its device has no more.

    Its last report is retained at the broker, so it is listed until somebody clears it. Signs in there as the device,
    with its password of --data-dir.

    \b
    Example:
      pinloop pin forget kettle/power
    """
    from contract.topics import PIN_STATE, Topics
    from pinloop.local.layout import Layout

    hub = find_hub(url, data_dir)
    _may_go(_found(hub, name), name)
    device, _, pin = name.partition("/")
    topic = Topics().build(PIN_STATE, device, pin)
    by_hand = f"Clear it by hand: mosquitto_pub -u {device} -P PASSWORD -q 1 -r -n -t {topic}"
    try:
        facts = json.loads((data_dir / "running.json").read_text(encoding="utf-8"))["mqtt"]
        password = Layout(data_dir, data_dir).password(device).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, KeyError) as error:
        raise PinloopError(f"the broker's user '{device}' is not known here ({error})", by_hand) from None
    _clear(facts["host"], facts["port"], device, password, topic)
    deadline_s = time.monotonic() + _GONE_S
    while _found(hub, name):
        if time.monotonic() > deadline_s:
            raise PinloopError(f"{name}: the broker did not clear {topic}", by_hand)
        time.sleep(0.05)
    click.echo(json.dumps({"forgotten": name}) if json_wanted else f"{name}: forgotten")


def _found(hub: HubClient, name: str) -> dict[str, Any] | None:
    return next((one for one in hub.get("/pins")["pins"] if f"{one['device']}/{one['pin']}" == name), None)


def _may_go(one: dict[str, Any] | None, name: str) -> None:
    """Refuse what would come back, or is still asked for."""
    if one is None:
        raise PinloopError(f"there is no pin '{name}'", "See what there is with `pinloop pin list`.")
    if one["declared"]:
        raise PinloopError(
            f"{name}: its device declares it, so it would come back",
            "Take it out of the device's configuration (or of routes.yml) first.",
        )
    if one["desired"]:
        raise PinloopError(
            f"{name}: {one['desired']['source']} ({one['desired']['slot']}) asks for it",
            "Let the alert end, or `pinloop pin release` your own claim.",
        )


def _clear(host: str, port: int, device: str, password: str, topic: str) -> None:
    from service import logs
    from service.mqtt import Session
    from service.settings import LogSettings, MqttSettings

    logs.setup("forget", LogSettings(log_level="error", log_format="human"))
    settings = MqttSettings(mqtt_host=host, mqtt_port=port, mqtt_user=device, mqtt_password=password)
    session = Session(settings, f"forget-{secrets.token_hex(4)}")
    session.start()
    try:
        if not session.wait_connected(_SIGN_IN_S):
            raise PinloopError(f"the broker does not let '{device}' in: {session.problem()}")
        session.publish(topic, b"", retain=True).wait(_SIGN_IN_S)
    finally:
        session.stop()
