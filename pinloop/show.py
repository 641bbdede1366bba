"""How commands show what they found: a table on a terminal, plain lines in a pipe, one JSON object with --json."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from service.document import Problem

__all__ = ["ago", "as_json", "clock", "held_text", "hub_options", "mistake", "moment", "not_good", "number", "table"]

F = TypeVar("F", bound=Callable[..., Any])


def hub_options(command: F) -> F:
    """Add the options by which a command finds its hub, and --json."""
    for option in (
        click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object."),
        click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
                     envvar="PINLOOP_DATA_DIR", help="Data folder of a running `pinloop up`."),
        click.option("--url", envvar="PINLOOP_URL", default=None,
                     help="Address of a hub elsewhere; its password in PINLOOP_PASSWORD or PINLOOP_PASSWORD_FILE."),
    ):  # fmt: skip
        command = option(command)
    return command


def as_json(found: Any) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(found))


def mistake(problem: "Problem") -> dict[str, Any]:
    """Return a mistake in a file as --json shows it."""
    return {**dataclasses.asdict(problem), "message": str(problem)}


def not_good(ctx: click.Context, path: Path, problems: "Sequence[Problem]", json_wanted: bool) -> NoReturn:
    """Tell what is wrong with a file that was checked, and end with exit code 1."""
    if json_wanted:
        as_json({"ok": False, "path": str(path), "problems": [mistake(one) for one in problems]})
    else:
        click.echo("\n".join(map(str, problems)), err=True)
    ctx.exit(1)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], seldom: Collection[str] = ()) -> None:
    """Print rows: as a table on a terminal, else as lines with tabs and no heading, for `cut` and `awk`.

    Nothing is cut off on a narrow terminal: the first column, which names a row, stays whole, the others wrap.

    Args:
        columns: the headings.
        rows: their cells, "-" for none.
        seldom: columns that a terminal shows only when a row has something in them.
    """
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    if not rows:
        click.echo("(none)")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="dim")
    kept = [i for i, name in enumerate(columns) if name not in seldom or any(row[i] != "-" for row in rows)]
    for i in kept:
        shown.add_column(columns[i], overflow="fold", no_wrap=i == 0)
    for row in rows:
        shown.add_row(*(Text(row[i]) for i in kept))  # Text: a device's name is no markup
    Console().print(shown)


def ago(t_s: float | None, now_s: float | None = None) -> str:
    """Return how long ago a time was, "" for None."""
    if t_s is None:
        return ""
    seconds = max(0.0, (time.time() if now_s is None else now_s) - t_s)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def clock(t_s: float) -> str:
    """Return the time of day here, with its zone: in a container that is UTC."""
    return f"{datetime.fromtimestamp(t_s).astimezone():%H:%M:%S %Z}"


def moment(t_s: float) -> str:
    """Return the date and time here; with its offset in a pipe, where the reader may be elsewhere."""
    local = datetime.fromtimestamp(t_s).astimezone()
    return f"{local:%m-%d %H:%M:%S}" if sys.stdout.isatty() else local.isoformat(sep=" ", timespec="seconds")


def held_text(held: dict[str, Any]) -> str:
    """Say which guard holds a wish back and until when, of the `held` of a pin."""
    wish = "the release" if held["wanted"] is None else number(held["wanted"])
    who = f" of {held['source']}" if held["source"] else ""
    until_s = held["until_s"]
    end = "" if until_s is None else f" until {clock(until_s)}"
    return f"{wish}{who} waits for {held['by']}{end}"


def number(value: float | None) -> str:
    """Return a value with as many digits as it needs, "-" for None."""
    return "-" if value is None else f"{value:.6g}"
