"""`pinloop backup` and `pinloop restore`: the commands."""

import json
import signal
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pinloop.backup.archive import Manifest
    from pinloop.backup.own import OwnFile
    from pinloop.backup.plan import Item

__all__ = ["backup", "restore"]

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
                         envvar="PINLOOP_DATA_DIR", help="Data folder of `pinloop up`.")  # fmt: skip
_stack = click.option(
    "--stack", is_flag=True, help="The stack's volumes; `make backup STACK=1` and `make restore STACK=1` use it."
)
_json = click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")


@click.command()
@_file
@_data_dir
@_stack
@_json
def backup(file: Path, data_dir: Path, stack: bool, json_wanted: bool) -> None:
    """Keep everything in FILE (.tar.gz), also while Pinloop runs.

    Readings (those in the spool as well), claims, the state of the rules, secrets, tokens, devices, dead letters, and
    your files (rules, pins, routes, inputs; of the stack also .env and docker-compose.override.yml). Whoever has the
    file has the passwords: keep it like a key. A file of that name is replaced when the new one is whole.

    \b
    Example:
      pinloop backup pinloop.tar.gz
    """
    from pinloop.backup.archive import write
    from pinloop.backup.own import OWN_ROOTS, own_items
    from pinloop.backup.plan import LOCAL, STACK, local_items, stack_items
    from pinloop.errors import PinloopError
    from pinloop.local.layout import Layout

    signal.signal(signal.SIGTERM, _interrupt)
    items: Iterable[Item]
    if stack:
        mode, items = STACK, chain(own_items(), stack_items())
    else:
        layout = Layout(data_dir, data_dir / "rules.yml")
        if not layout.secrets.is_dir():
            raise PinloopError(
                f"there is no Pinloop in '{data_dir}'", "Name the data folder of `pinloop up` with --data-dir."
            )
        mode, items = LOCAL, local_items(layout, _rules_path(layout.running, layout.rules))
    manifest = write(file.absolute(), mode, items)
    if not manifest.files:
        file.unlink()
        raise PinloopError("there is nothing to keep", "Mount the stack's volumes, as `make backup STACK=1` does.")
    size = file.stat().st_size
    if json_wanted:
        click.echo(json.dumps({"file": str(file), "size_bytes": size, **_told(manifest)}))
    else:
        click.echo(f"{len(manifest.files)} files in {file} ({size:,} bytes). It holds every password.")
        if stack:
            own = [name.partition("/")[2] for name in manifest.files if name.partition("/")[0] in OWN_ROOTS]
            click.echo(f"Your own files in it: {', '.join(own) or 'none, all are as they came'}.")


@click.command()
@_file
@_data_dir
@_stack
@_json
def restore(file: Path, data_dir: Path, stack: bool, json_wanted: bool) -> None:
    """Make Pinloop what it was when FILE was made.

    Pinloop must not run meanwhile. The backup is checked as a whole before anything changes, and what is there now is
    kept beside it. Files of the stack that you edit are not replaced: one that differs is put beside yours. After the
    next start the webhook's commands count as new for every device.

    \b
    Example:
      pinloop restore pinloop.tar.gz
    """
    import time

    from pinloop.backup.place import restore_local, restore_stack
    from pinloop.local.layout import Layout

    done = restore_stack(file.absolute()) if stack else restore_local(file, Layout(data_dir, data_dir / "rules.yml"))
    if json_wanted:
        aside = [str(path) for path in done.aside]
        own = {one.name: {"state": one.state, "path": str(one.path)} for one in done.own}
        said = {"file": str(file), "aside": aside, "own": own, "changed": done.changed, **_told(done.manifest)}
        click.echo(json.dumps(said))
        return
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(done.manifest.made_at_s))
    click.echo(f"{len(done.manifest.files)} files as of {made} are back.")
    for path in done.aside:
        click.echo(f"What was there before is in {path}.")
    if done.changed:
        click.echo(f"Of your files these differ from before: {', '.join(done.changed)}.")
    for line in _own_lines(done.own):
        click.echo(line)
    click.echo("Start it: " + ("docker compose up -d --wait" if stack else "pinloop up"))


def _told(manifest: "Manifest") -> dict[str, object]:
    return {"files": sorted(manifest.files), "made_at_s": manifest.made_at_s, "pinloop": manifest.pinloop}


def _own_lines(own: "Sequence[OwnFile]") -> list[str]:
    """Say what became of the owner's files, as far as something did."""
    from pinloop.backup.own import BESIDE, OUTSIDE, PUT_BACK

    words = {
        PUT_BACK: "{name} is put back.",
        BESIDE: "{name} stays as it is; the backup's, which differs, is beside it: {path.name}",
        OUTSIDE: "{name} was not in this folder; the backup's is {path}",
    }
    return [words[one.state].format(name=one.name, path=one.path) for one in own if one.state in words]


def _rules_path(running: Path, default: Path) -> Path:
    """Return the rules file that the running instance uses; without one that of the data folder."""
    try:
        return Path(json.loads(running.read_text(encoding="utf-8"))["rules_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return default


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # through the `with` blocks that remove what is half done
