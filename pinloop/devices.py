"""`pinloop device`: which devices there are and what they read."""

from pathlib import Path
from typing import Any

import click

from pinloop.client import find_hub
from pinloop.show import ago, as_json, hub_options, number, table

__all__ = ["device"]


@click.group()
def device() -> None:
    """Devices and their last readings.

    \b
    Example:
      pinloop device list
      pinloop device show pot
    """


@device.command("list")
@hub_options
def list_devices(url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """List every device with its status and last readings."""
    found = find_hub(url, data_dir).get("/devices")
    if json_wanted:
        return as_json(found)
    rows = [
        (
            one["device"],
            one["status"],
            ago(one["since_s"], found["now_s"]) or "-",
            "  ".join(_readings(one, found["now_s"])) or "-",
        )
        for one in found["devices"]
    ]
    table(("device", "status", "since", "readings"), rows)
    _warn(found["links"])
    return None


@device.command("show")
@click.argument("device_id", metavar="ID")
@hub_options
def show_device(device_id: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Show what is known about one device.

    \b
    Example:
      pinloop device show pot
    """
    from urllib.parse import quote

    found = find_hub(url, data_dir).get("/devices/" + quote(device_id, safe=""))
    if json_wanted:
        return as_json(found)
    info = found["info"]
    rows = [("device", found["device"]), ("status", " ".join(filter(None, (found["status"], ago(found["since_s"])))))]
    said = {key: value for key, value in info.items() if key not in ("sensors", "pins")}
    rows += [(key, f"{value} {_UNITS.get(key, '')}".rstrip()) for key, value in said.items()]
    rows += [("reading", text) for text in _readings(found, None)]
    rows += [(f"pin {name}", _limits(declared)) for name, declared in info["pins"].items()]
    table(("", ""), rows)
    return None


# Of what a device says about itself; the names are the contract's.
_UNITS = {"rssi": "dBm", "heap": "bytes free", "uptime_s": "s"}


def _readings(one: dict[str, Any], now_s: float | None) -> list[str]:
    return [
        f"{sensor} {number(reading['value'])} {reading['unit']}".rstrip() + f" ({ago(reading['t_s'], now_s)})"
        for sensor, reading in one["readings"].items()
    ]


def _limits(declared: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in declared.items())


def _warn(links: dict[str, Any]) -> None:
    """Say on stderr what the hub itself is cut off from: the list may be old."""
    from hub.words import STORING

    for name, link in links.items():
        if link["problem"]:
            what = "Readings are not being stored" if name == STORING else f"The hub has no connection to the {name}"
            click.echo(f"{what} ({ago(link['since_s'])}): {link['problem']}", err=True)
