"""`pinloop gateway`: which gateways may post readings to the listener. Nothing else in inputs.toml changes."""

import json
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pinloop.errors import PinloopError
from pinloop.inputs import _checked as checked
from pinloop.show import as_json, table

if TYPE_CHECKING:
    from inputs import Inputs

__all__ = ["gateway"]

_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
                         envvar="PINLOOP_DATA_DIR", help="The folder of a local Pinloop.")  # fmt: skip
_file = click.option("--file", "path", type=click.Path(path_type=Path, dir_okay=False), envvar="INPUTS_FILE",
                     help="The inputs' file; without it $INPUTS_FILE, or inputs.toml of --data-dir.")  # fmt: skip


@click.group()
def gateway() -> None:
    """Gateways that bring readings of other devices over HTTP.

    \b
    Example:
      pinloop gateway add roof --device aa:bb:cc:dd:ee:01=bed-1
    """


@gateway.command()
@click.argument("gateway_id", metavar="ID")
@click.option("--name", default="", help="What it calls itself in its messages; without it that is not checked.")
@click.option("--device", "devices", multiple=True, metavar="NAME[=ID]", help="A device of it; may be repeated.")
@_file
@_data_dir
def add(gateway_id: str, name: str, devices: tuple[str, ...], path: Path | None, data_dir: Path) -> None:
    """Let a gateway in, and print its token.

    The file keeps only the token's hash. Restart the listener afterwards.

    \b
    Example:
      pinloop gateway add roof --name aa:bb:cc:dd:ee:00 --device aa:bb:cc:dd:ee:01=bed-1
    """
    from contract.topics import is_device
    from inputs.gateway.accounts import hashed

    if not is_device(gateway_id):
        raise click.BadParameter(f"'{gateway_id}' is not 1 to 32 of a-z 0-9 _ -", param_hint="ID")
    path = path or data_dir / "inputs.toml"
    text = _read(path)
    if any(one.id == gateway_id for one in _parsed(text, path).gateways):
        raise PinloopError(
            f"there is a gateway '{gateway_id}' already",
            f"Take it out with `pinloop gateway remove {gateway_id}`, or choose another ID.",
        )
    token = secrets.token_urlsafe(32)
    pairs = [_pair(device) for device in devices]
    lines = [
        "",
        f"[gateways.{gateway_id}]",
        *([f"name = {json.dumps(name, ensure_ascii=False)}"] if name else []),
        f'token_sha256 = "{hashed(token)}"',
        "devices = {"
        + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(value)}" for key, value in pairs)
        + "}",
    ]
    _write(path, text.rstrip("\n") + "\n" + "\n".join(lines) + "\n")
    click.echo(token)
    click.echo(
        f"{path} written; restart the listener (or `pinloop up`), then the gateway may POST to its /telemetry.\n"
        "The token is not kept: give it to the gateway now.",
        err=True,
    )


@gateway.command("list")
@_file
@_data_dir
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
def list_gateways(path: Path | None, data_dir: Path, json_wanted: bool) -> None:
    """List the gateways and their devices."""
    path = path or data_dir / "inputs.toml"
    found = _parsed(_read(path), path).gateways
    if json_wanted:
        as_json({"gateways": [{"id": one.id, "name": one.name, "devices": dict(one.devices)} for one in found]})
        return
    rows = [
        (one.id, one.name or "-", "  ".join(f"{name}={device}" for name, device in one.devices.items()))
        for one in found
    ]
    table(("gateway", "name", "devices"), rows)


@gateway.command()
@click.argument("gateway_id", metavar="ID")
@_file
@_data_dir
def remove(gateway_id: str, path: Path | None, data_dir: Path) -> None:
    """Take a gateway out; restart the listener afterwards.

    Its token is worth nothing from that start on.
    """
    path = path or data_dir / "inputs.toml"
    text = _read(path)
    if not any(one.id == gateway_id for one in _parsed(text, path).gateways):
        raise PinloopError(f"there is no gateway '{gateway_id}'", "See them with `pinloop gateway list`.")
    # From its header to the next one, or the comment before that: what stands there belongs to the next table.
    table_of = re.compile(
        rf"^\[gateways\.[\"']?{re.escape(gateway_id)}[\"']?(\..*)?\][^\n]*\n(?:(?![\[#]).*\n?)*", re.MULTILINE
    )
    _write(path, re.sub(r"\n{3,}", "\n\n", table_of.sub("", text)))
    click.echo(f"{path} written; restart the listener.", err=True)


def _pair(text: str) -> tuple[str, str]:
    """Return (name, device id) of NAME[=ID]."""
    from contract.errors import TopicError
    from inputs.names import device_id

    name, _, device = text.partition("=")
    try:
        return name, device or device_id(name)
    except TopicError as error:
        raise click.BadParameter(str(error), param_hint="--device") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "version = 1\n"
    except (OSError, UnicodeError) as error:
        raise PinloopError(f"'{path}' cannot be read ({error})") from None


def _parsed(text: str, path: Path) -> "Inputs":
    from inputs.declared import parse

    found: Inputs = checked(lambda: parse(text, path.name))
    return found


def _write(path: Path, text: str) -> None:
    """Write in place: the stack mounts the file, and a mount keeps the old one when it is replaced."""
    _parsed(text, path)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PinloopError(f"'{path}' cannot be written ({error.strerror})") from None
