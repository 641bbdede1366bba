"""`pinloop pin`: what the pins are, who wants what, and a person's own claim."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from contract.commands import COMMAND
from contract.errors import TopicError
from contract.topics import check_device, check_name
from pinloop.client import HubClient, find_hub
from pinloop.durations import Duration
from pinloop.pin_rows import COLUMNS, NOTHING_YET, SELDOM, held_by, note, row
from pinloop.show import ago, as_json, clock, hub_options, moment, number, table

__all__ = ["pin"]

# A device answers in milliseconds; one that is away or held back by a guard is said to be, not waited for.
CONFIRM_S = 2.0


def _checked(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Return DEVICE/PIN as it came, or refuse what is outside the contract's grammar as wrong usage."""
    if value is None:
        return None
    device, _, name = value.partition("/")
    try:
        check_device(device)
        check_name(name, "pin")
    except TopicError as error:
        raise click.BadParameter(f"{error}; write it like lights/red") from None
    return value


def _value(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Return the number, or that of on and off."""
    try:
        return {"on": 1.0, "off": 0.0}[value] if value in ("on", "off") else float(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is neither a number nor on or off") from None


_PIN = click.argument("name", metavar="DEVICE/PIN", callback=_checked)


@click.group()
def pin() -> None:
    """Pins: what they are, and who wants what.

    \b
    Example:
      pinloop pin list
      pinloop pin why lights/red
      pinloop pin set lights/red 1 --for 30m
      pinloop pin release lights/red
    """


@pin.command("list")
@hub_options
def list_pins(url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """List every pin: what is desired, and what it is.

    `was 1`: the last report of a device that is away; the note says what the pin is thought to be meanwhile.
    """
    found = find_hub(url, data_dir).get("/pins")
    if json_wanted:
        return as_json(found)
    rows = [row(one) for one in found["pins"]]
    if not sys.stdout.isatty():
        return table(COLUMNS, rows)
    table(COLUMNS[:-1], [one[:-1] for one in rows], SELDOM)
    for name, *_, said in rows:  # a sentence has no room in a column
        if said != "-":
            click.echo(f"{name}: {said}")
    return None


@pin.command("set")
@_PIN
@click.argument("value", callback=_value)
@click.option("--for", "for_s", type=Duration(most_s=86400), default="30m", show_default=True,
              help="When your claim ends: 90s, 30m, 1h30m; at most 24h.")  # fmt: skip
@click.option("--by", default="cli", show_default=True, help="Who wants it, for those who ask why.")
@hub_options
def set_pin(name: str, value: float, for_s: int, by: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Claim a pin for a while; the claim ends by itself.

    It beats every alert, timer and threshold but those of slot safety.

    \b
    Example:
      pinloop pin set lights/red on --for 30m
      pinloop pin set fan/speed 512 --for 2h --by anna
    """
    wish = {"value": int(value) if value.is_integer() else value, "for": f"{for_s}s", "by": by}
    hub = find_hub(url, data_dir)
    hub.call("PUT", "/pins/" + name, wish)
    _done(_confirmed(hub, name), json_wanted)


@pin.command("release")
@_PIN
@click.option("--by", default="cli", show_default=True, help="Who lets go of it, for those who ask why.")
@hub_options
def release_pin(name: str, by: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Withdraw your claim: the next one decides, or the pin's default.

    \b
    Example:
      pinloop pin release lights/red
    """
    hub = find_hub(url, data_dir)
    hub.call("DELETE", f"/pins/{name}?{urlencode({'by': by})}")
    _done(_confirmed(hub, name), json_wanted)


@pin.command("why")
@_PIN
@hub_options
def why_pin(name: str, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Answer "why is this pin on?".

    With the claim that wins, the others, and the last changes.

    \b
    Example:
      pinloop pin why lights/red
    """
    found = find_hub(url, data_dir).get(f"/pins/{name}/why")
    if json_wanted:
        return as_json(found)
    click.echo(f"{name}: {found['text']}")
    said = note(found)
    if said and said != NOTHING_YET:  # the sentence says that
        click.echo(said)
    if found["claims"]:
        click.echo("\nClaims, the winner first:")
        table(
            ("value", "slot", "from", "since"),
            [(number(one["value"]), one["slot"], one["source"], ago(one["since_s"])) for one in found["claims"]],
        )
    if found["changes"]:
        click.echo("\nLast changes:")
        table(
            ("when", "value", "because", "reported after"),
            [(ago(one["at_s"]), number(one["value"]), _because(one), _took(one)) for one in found["changes"]],
        )
    return None


@pin.command("log")
@click.argument("name", metavar="[DEVICE/PIN]", required=False, callback=_checked)
@click.option("--since", "since_s", type=Duration(), default="24h", show_default=True,
              help="How far back: 90s, 30m, 24h, 7d.")  # fmt: skip
@hub_options
def log_pins(name: str | None, since_s: int, url: str | None, data_dir: Path, json_wanted: bool) -> None:
    """Show the log of changes, the oldest first.

    With --json one object per line, for export. What a guard held back and what dry-run did not send is in it
    too, and said to be.

    \b
    Example:
      pinloop pin log lights/red --since 1h
      pinloop pin log --since 365d --json > changes.jsonl
    """
    hub = find_hub(url, data_dir)
    rows = _changes(hub, {"since_s": str(time.time() - since_s), **({"pin": name} if name else {})})
    if json_wanted:
        for one in rows:
            as_json(one)
        return
    table(
        ("when", "pin", "value", "because", "reported after"),
        [
            (moment(one["at_s"]), f"{one['device']}/{one['pin']}", number(one["value"]), _because(one), _took(one))
            for one in rows
        ],
    )


def _changes(hub: HubClient, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the log, page by page."""
    after = 0
    while after is not None:
        page = hub.get("/changes?" + urlencode({**query, "after": str(after)}))
        yield from page["changes"]
        after = page["next"]


def _because(change: dict[str, Any]) -> str:
    return f"{change['reason']}{' (dry-run: not sent)' if change['dry_run'] else ''}"


def _confirmed(hub: HubClient, name: str) -> dict[str, Any]:
    """Return the pin as soon as the device has reported what is desired, at the latest after CONFIRM_S."""
    deadline_s = time.monotonic() + CONFIRM_S
    while True:
        one: dict[str, Any] = hub.get(f"/pins/{name}/why")
        if _agrees(one) or time.monotonic() > deadline_s:
            return one
        time.sleep(0.02)


def _agrees(one: dict[str, Any]) -> bool:
    desired, reported = one["desired"], one["reported"]
    if reported is None:
        return False
    return bool(reported["value"] == desired["value"] if desired else reported["why"] != COMMAND)


def _done(one: dict[str, Any], json_wanted: bool) -> None:
    if json_wanted:
        return as_json({key: value for key, value in one.items() if key not in ("claims", "changes")})
    name, desired, reported = f"{one['device']}/{one['pin']}", one["desired"], one["reported"]
    wanted = "no claim"
    if desired:
        wanted = f"{number(desired['value'])} wanted by {desired['source']} ({desired['slot']})"
        wanted += f" until {clock(desired['until_s'])}" if desired.get("until_s") else ""
    said = f"{'' if one['current'] else 'last '}reported {number(reported['value'])}" if reported else "never reported"
    if reported and not one["current"]:
        said += f"; {note(one)}"
    late = "" if _agrees(one) else "; the device has not confirmed it yet, see `pinloop pin why`"
    if held_by(one) != "-":
        late = f"; held: {held_by(one)}, see `pinloop pin why`"
    click.echo(f"{name}: {wanted}; {said}{late}")
    return None


def _took(change: dict[str, Any]) -> str:
    if change["reported_at_s"] is None:
        return "-"
    return f"{(change['reported_at_s'] - change['at_s']) * 1000:.0f} ms"
