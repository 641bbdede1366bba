"""`pinloop pins`: look at a pins file before it guards anything."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pinloop.errors import PinloopError
from pinloop.show import as_json, not_good, table

if TYPE_CHECKING:
    from webhook.guards import Quiet
    from webhook.pin_file import PinConfig

__all__ = ["pins"]


@click.group()
def pins() -> None:
    """The pins file: guards, preference and dry-run of pins.

    What the pins are now is another command: `pinloop pin`.

    \b
    Example:
      pinloop pins check
    """


@pins.command()
@click.argument("path", type=click.Path(path_type=Path), required=False, envvar="PINS_FILE")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              envvar="PINLOOP_DATA_DIR", help="Where pins.yml is looked for without PATH.")  # fmt: skip
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, path: Path | None, data_dir: Path, json_wanted: bool) -> None:
    """Say what a pins file holds, or every mistake in it.

    With the line of each; exit 1 when there is one. A running webhook takes a changed file over by itself.

    PATH: the file; without it $PINS_FILE, or pins.yml of --data-dir.

    \b
    Example:
      pinloop pins check
      pinloop pins check webhook/pins.yml
    """
    from service.document import DocumentError
    from webhook.pin_file import load_pins

    path = path or data_dir / "pins.yml"
    if not path.exists():
        raise PinloopError(f"there is no file {path}", "Without one no pin has guards but its device's; name another.")
    try:
        found = load_pins(path)
    except DocumentError as error:
        not_good(ctx, path, error.problems, json_wanted)
    if json_wanted:
        as_json({"ok": True, "path": str(path), "pins": {"/".join(pin): _facts(found[pin]) for pin in sorted(found)}})
        return
    click.echo(f"{path}: pins: {len(found)}")
    if found:
        now_s = time.time()
        table(
            ("pin", "guards", "quiet", "preference", "dry-run"),
            [_row("/".join(pin), found[pin], now_s) for pin in sorted(found)],
        )


def _facts(config: "PinConfig") -> dict[str, Any]:
    """Return what the file says of a pin, as it would be written, and without what it does not say."""
    limits = config.limits
    numbers = {key: getattr(limits, key) for key in ("min_on_s", "min_off_s", "max_on_s", "max_switches_per_h")}
    said: dict[str, Any] = {key: value for key, value in numbers.items() if value}
    if limits.exclusive_with:
        said["exclusive_with"] = sorted("/".join(pin) for pin in limits.exclusive_with)
    if limits.quiet:
        said |= {"quiet": _span(limits.quiet), "tz": limits.quiet.zone.key}
    if config.preference:
        said["preference"] = config.preference
    return said | ({"dry_run": True} if config.dry_run else {})


def _row(name: str, config: "PinConfig", now_s: float) -> tuple[str, ...]:
    said = _facts(config)
    guards = [f"{key}={value:g}" for key, value in said.items() if isinstance(value, int | float) and key != "dry_run"]
    guards += [f"not with {other}" for other in said.get("exclusive_with", ())]
    quiet = quiet_text(config.limits.quiet, now_s) if config.limits.quiet else "-"
    return name, ", ".join(guards) or "-", quiet, config.preference or "-", "yes" if config.dry_run else "-"


def quiet_text(quiet: "Quiet", now_s: float) -> str:
    """Say when quiet hours are, by whose clock, and what that clock shows: a wrong `tz` is seen by it."""
    clock = f"{datetime.fromtimestamp(now_s, quiet.zone):%H:%M}"
    return f"{_span(quiet)} {quiet.zone.key} ({clock} there: {'quiet now' if quiet.until_s(now_s) else 'not now'})"


def _span(quiet: "Quiet") -> str:
    return f"{quiet.begins:%H:%M}-{quiet.ends:%H:%M}"
