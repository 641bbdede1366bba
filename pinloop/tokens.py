"""`pinloop token`: API tokens of the webhook.

It works on the webhook's file of hashes: no password and no running webhook are needed, only the right to that file.
"""

import functools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from pinloop.durations import Duration
from pinloop.errors import PinloopError

__all__ = ["token"]

F = TypeVar("F", bound=Callable[..., Any])

_SCOPES = ("read", "actuate", "admin")


def _file(command: F) -> F:
    """Add --file and --data-dir; the command gets `path`."""

    @functools.wraps(command)
    def with_path(*args: Any, path: Path | None, data_dir: Path, **kwargs: Any) -> Any:
        return command(*args, path=path or data_dir / "tokens.json", **kwargs)

    for option in (
        click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
                     envvar="PINLOOP_DATA_DIR", help="Data folder of `pinloop up`."),
        click.option("--file", "path", type=click.Path(path_type=Path, dir_okay=False),
                     envvar=["PINLOOP_WEBHOOK_TOKENS_PATH", "PINLOOP_TOKENS_PATH"],
                     help="The webhook's tokens_path; without it tokens.json of --data-dir."),
    ):  # fmt: skip
        with_path = option(with_path)
    return with_path  # type: ignore[return-value]


@click.group()
def token() -> None:
    """API tokens of the webhook.

    A token may do what its scope says: `read` asks, `actuate` also claims pins, `admin` also changes the webhook.
    The webhook sees a change of its token file at once. In the stack: docker compose exec webhook pinloop token ...

    \b
    Example:
      pinloop token create phone --scope actuate
      curl -H "Authorization: Bearer plt_..." http://127.0.0.1:8081/pins
      pinloop token revoke phone
    """


@token.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(_SCOPES), default="read", show_default=True, help="What it may do.")
@click.option("--for", "for_s", type=Duration(most_s=100 * 366 * 86400), default=None,
              help="When it ends: 12h, 90d; without it never.")  # fmt: skip
@_file
def create(name: str, scope: str, for_s: int | None, path: Path) -> None:
    """Make a token and print it, once.

    NAME says whose it is in `pinloop pin why`.

    \b
    Example:
      pinloop token create phone --scope actuate --for 90d
    """
    from webhook.access.tokens import TokenError
    from webhook.access.tokens import create as make

    try:
        made = make(path, name, scope, for_s / 86400 if for_s else None)
    except TokenError as error:
        raise _failed(error, path) from None
    click.echo(made)
    click.echo("Keep it now: only its hash is stored.", err=True)


@token.command("list")
@_file
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
def list_tokens(path: Path, json_wanted: bool) -> None:
    """List the tokens; the secrets themselves are not kept."""
    from pinloop.show import as_json, table
    from webhook.access.tokens import TokenError, listed

    try:
        found = listed(path)
    except TokenError as error:
        raise _failed(error, path) from None
    if json_wanted:
        keys = ("id", "name", "scope", "created_s", "until_s")
        return as_json({"tokens": [{key: getattr(one, key) for key in keys} for one in found]})
    rows = [(one.name, one.scope, one.id, _day(one.created_s), _day(one.until_s)) for one in found]
    table(("name", "scope", "id", "made", "until"), rows)
    return None


@token.command()
@click.argument("name", metavar="NAME|ID")
@_file
def revoke(name: str, path: Path) -> None:
    """Take a token away: the webhook refuses it from now on."""
    from webhook.access.tokens import TokenError
    from webhook.access.tokens import revoke as take_away

    try:
        take_away(path, name)
    except TokenError as error:
        raise _failed(error, path) from None
    click.echo(f"{name}: revoked")


def _day(time_s: float | None) -> str:
    return "-" if time_s is None else datetime.fromtimestamp(time_s).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _failed(error: Exception, path: Path) -> PinloopError:
    return PinloopError(str(error), "" if path.exists() else f"Is '{path}' the webhook's file? Name it with --file.")
