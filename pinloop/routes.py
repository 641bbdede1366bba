"""`pinloop routes`: look at a routes file before it decides anything, and ask it what an alert would get."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pinloop.errors import PinloopError
from pinloop.show import as_json, not_good, table

if TYPE_CHECKING:
    from webhook.routes import Route
    from webhook.routes_file import RoutesFile

__all__ = ["routes"]

_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
                         envvar="PINLOOP_DATA_DIR", help="Where routes.yml is looked for without a file.")  # fmt: skip
_json = click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
_prefix = click.option("--prefix", default="pinloop", show_default=True, envvar="PINLOOP_MQTT_PREFIX",
                       help="First level(s) of Pinloop's topics.")  # fmt: skip


@click.group()
def routes() -> None:
    """Routes of alerts, and pins of other firmware.

    For alerts without the label `actuate`, and relays of Tasmota, Zigbee2MQTT, ESPHome, Shelly: routes.yml.

    \b
    Example:
      pinloop routes check
      pinloop routes try alertname=TooDark room=hall
    """


@routes.command()
@click.argument("path", type=click.Path(path_type=Path), required=False, envvar="ROUTES_FILE")
@_data_dir
@_prefix
@_json
@click.pass_context
def check(ctx: click.Context, path: Path | None, data_dir: Path, prefix: str, json_wanted: bool) -> None:
    """Say what a routes file holds, or every mistake in it.

    With the line of each; exit 1 when there is one.

    PATH: the file; without it $ROUTES_FILE, or routes.yml of --data-dir.

    \b
    Example:
      pinloop routes check
      pinloop routes check webhook/routes.yml
    """
    from service.document import DocumentError

    path = path or data_dir / "routes.yml"
    try:
        file = _load(path, prefix)
    except DocumentError as error:
        not_good(ctx, path, error.problems, json_wanted)
    if json_wanted:
        devices = {name: {"kind": one.kind, "pins": list(one.pins)} for name, one in file.devices.items()}
        as_json({"ok": True, "path": str(path), "routes": [_shown(one) for one in file.routes], "devices": devices})
        return
    click.echo(f"{path}: routes: {len(file.routes)}, devices of other firmware: {len(file.devices)}")
    if file.routes:
        table(("route", "matchers", "targets", "slot", "then"), [_row(route) for route in file.routes])
    if file.devices:
        table(
            ("device", "kind", "pins", "commands go to"),
            [
                (name, one.kind, ", ".join(one.pins), ", ".join(dict.fromkeys(one.firmware.writes)))
                for name, one in file.devices.items()
            ],
        )


@routes.command("try")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL=VALUE...")
@click.option("--file", "path", type=click.Path(path_type=Path), envvar="ROUTES_FILE",
              help="The file; without it $ROUTES_FILE, or routes.yml of --data-dir.")  # fmt: skip
@_data_dir
@_prefix
@_json
@click.pass_context
def attempt(
    ctx: click.Context, labels: tuple[str, ...], path: Path | None, data_dir: Path, prefix: str, json_wanted: bool
) -> None:
    """Say which pins an alert with these labels would claim.

    And by which routes; when by none, why each does not match, and exit 1. Nothing is sent anywhere.

    \b
    Example:
      pinloop routes try alertname=TooDark room=hall
      pinloop routes try --file webhook/routes.yml severity=critical device=tank-3
    """
    from contract.errors import ContractError
    from service.document import DocumentError
    from webhook.dialects import FIRING, NOT_CONDITIONS, Notification
    from webhook.routes import matching, targets_of

    given = dict(_label(one) for one in labels)
    path = path or data_dir / "routes.yml"
    try:
        file = _load(path, prefix)
    except DocumentError as error:
        raise PinloopError(str(error), "Mend it first: `pinloop routes check`.") from None
    notification = Notification("try", 0.0, FIRING, given.get("alertname", ""), given, {})
    own = bool(given.get("actuate"))
    never = notification.name in NOT_CONDITIONS
    taken = [] if own or never else [route.number for route in matching(file.routes, given)]
    missed = [] if own or taken or never else [(route.number, route.why_not(given)) for route in file.routes]
    try:
        found, slot = targets_of(notification, file.routes)
        problem = ""
    except ContractError as error:
        found, slot, problem = [], "", str(error)
    if never:
        found, slot, problem = [], "", f"{notification.name} is not a condition: no label and no route makes it one"
    if json_wanted:
        targets = [str(one) for one in found]
        missing = [{"number": number, "why": why} for number, why in missed]
        as_json({"routes": taken, "targets": targets, "slot": slot, "problem": problem, "missed": missing})
    elif problem:
        click.echo(
            f"nothing: {problem if own or taken or never else 'it has no label actuate, and no route matches it'}"
        )
        for number, why in missed:
            click.echo(f"route {number}: {why}")
        if not own and not never and not file.routes:
            click.echo(f"{path} has no routes: write one, or give the alert the label actuate=device/pin=value")
    else:
        way = "by its label actuate" if own else f"by route {', '.join(map(str, taken))}"
        click.echo(f"{', '.join(str(one) for one in found)}  (slot {slot}, {way})")
    ctx.exit(1 if problem else 0)


def _load(path: Path, prefix: str) -> "RoutesFile":
    from contract.errors import ContractError
    from contract.topics import Topics
    from webhook.routes_file import load_routes

    if not path.exists():
        raise PinloopError(f"there is no file {path}", "Without one no alert is routed; name another, or make it.")
    try:
        return load_routes(path, Topics(prefix))
    except ContractError as error:
        raise PinloopError(f"--prefix: {error}") from None


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise PinloopError(f"LABEL=VALUE: '{text}' has no name or no =", "Write it as room=hall.")
    return name, value


def _shown(route: "Route") -> dict[str, object]:
    return {
        "number": route.number,
        "matchers": [str(one) for one in route.matchers],
        "targets": [str(one) for one in route.targets],
        "slot": route.slot,
        "continue": route.goes_on,
    }


def _row(route: "Route") -> tuple[str, str, str, str, str]:
    matchers = ", ".join(str(one) for one in route.matchers) or "every alert"
    targets = ", ".join(str(one) for one in route.targets)
    return str(route.number), matchers, targets, route.slot or "the alert's", "go on" if route.goes_on else "stop"
