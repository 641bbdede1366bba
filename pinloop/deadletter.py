"""`pinloop deadletter`: what the listener could not store, and what becomes of it.

Works on the listener's file, whether it runs or not. Replaying writes to the
store itself: a refused point as it was, so it replaces itself if it comes
twice; a message read anew, with the time of its receipt and without what the
store has already. A letter is taken out of the file only when its points are
stored: killed in between, it is there still, and replaying it again is harmless.
"""

import base64
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from pinloop.errors import PinloopError
from pinloop.local.layout import Layout
from pinloop.show import as_json, moment, table

__all__ = ["deadletter"]

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = ("by", "topic", "reason")
_MAIN = ("main", "spool", "decoder")  # who refused what belongs into the main store


def _data_dir(command: F) -> F:
    return click.option(
        "--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
        envvar="PINLOOP_DATA_DIR", help="Data folder of `pinloop up`; the listener's own variables win over it.",
    )(command)  # fmt: skip


def _chosen(command: F) -> F:
    for option in (
        click.option("--all", "everything", is_flag=True, help="All of them."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        _data_dir,
    ):
        command = option(command)
    return command


@click.group()
def deadletter() -> None:
    """Dead letters: readings that could not be stored, and why.

    \b
    Example:
      pinloop deadletter list
      pinloop deadletter show 3f9a01bc
      pinloop deadletter replay --all
      docker compose run --rm listener pinloop deadletter list
    """


@deadletter.command("list")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
@_data_dir
def list_letters(data_dir: Path, json_wanted: bool) -> None:
    """List them, oldest first: id, when, who refused, topic, reason.

    \b
    Example:
      pinloop deadletter list
    """
    letters = _letters(_settings(data_dir))
    if json_wanted:
        return as_json({"letters": [{"id": one.id, **one.said} for one in letters]})
    rows = [
        (one.id, _when(one.said.get("at")), *(str(one.said.get(key) or "-")[:100] for key in _SHOWN)) for one in letters
    ]
    table(("id", "at", "refused by", "topic", "reason"), rows)
    return None


def _when(at: Any) -> str:
    """Return the time of a letter; what is no time, of a damaged file, as it is."""
    try:
        return moment(datetime.fromisoformat(at).timestamp())
    except (TypeError, ValueError, OverflowError):
        return str(at or "-")[:100]


@deadletter.command("show")
@click.argument("name", metavar="ID")
@_data_dir
def show_letter(name: str, data_dir: Path) -> None:
    """Print one as JSON, with its payload.

    \b
    Example:
      pinloop deadletter show 3f9a01bc
    """
    (letter,) = _pick(_settings(data_dir), (name,), False)
    as_json({"id": letter.id, **letter.said})


@deadletter.command("replay")
@_chosen
def replay_letters(ids: Sequence[str], everything: bool, data_dir: Path) -> None:
    """Store them after all, once their cause is mended.

    Exit code 1 when the store refuses some again: those stay, with the reason printed.

    \b
    Example:
      pinloop deadletter replay 3f9a01bc
      pinloop deadletter replay --all
    """
    from service import logs
    from service.settings import LogSettings

    logs.setup("deadletter", LogSettings(log_level="error", log_format="human"), sys.stderr)  # refusals are told below
    settings = _settings(data_dir)
    letters = _pick(settings, ids, everything)
    stored, refusals = _replay(settings, letters)
    _remove(settings, stored)
    click.echo(f"{len(stored)} stored, {len(refusals)} refused again")
    if refusals:
        first = "; ".join(f"{name}: {why}" for name, why in list(refusals.items())[:3])
        raise PinloopError(first, "Those letters are still there: `pinloop deadletter show ID`, `... drop ID`.")


@deadletter.command("drop")
@_chosen
def drop_letters(ids: Sequence[str], everything: bool, data_dir: Path) -> None:
    """Throw them away.

    \b
    Example:
      pinloop deadletter drop 3f9a01bc
      pinloop deadletter drop --all
    """
    settings = _settings(data_dir)
    letters = _pick(settings, ids, everything)
    _remove(settings, [one.id for one in letters])
    click.echo(f"{len(letters)} dropped")


def _settings(data_dir: Path, environ: Mapping[str, str] = os.environ) -> Any:
    """Return the listener's settings: of its variables, as in a container, and for the rest those of `pinloop up`."""
    from listener.settings import Settings
    from service.errors import SettingsError
    from service.settings import read

    layout = Layout(data_dir, Path())
    local = {
        "PINLOOP_DEAD_LETTER_PATH": str(layout.dead_letters),
        "PINLOOP_STORE_URL": f"sqlite:{layout.store}",
    }
    if layout.inputs.exists():
        local["PINLOOP_INPUTS_PATH"] = str(layout.inputs)
    try:
        return read("listener", Settings, (), {**local, **environ})
    except SettingsError as error:
        raise PinloopError(str(error)) from None


def _letters(settings: Any) -> list[Any]:
    from listener import dead_file

    try:
        return dead_file.read(settings.dead_letter_path)
    except OSError as error:
        raise PinloopError(f"{settings.dead_letter_path}: {error.strerror}", _WHERE) from None


def _pick(settings: Any, ids: Sequence[str], everything: bool) -> list[Any]:
    if bool(ids) == everything:
        raise click.UsageError("name letters by their ids, or --all")
    letters = _letters(settings)
    known = {one.id for one in letters}
    for name in ids:
        if name not in known:
            raise PinloopError(f"there is no letter {name!r} in {settings.dead_letter_path}", _WHERE)
    return [one for one in letters if everything or one.id in ids]


def _remove(settings: Any, ids: Sequence[str]) -> None:
    from listener import dead_file

    try:
        dead_file.remove(settings.dead_letter_path, set(ids))
    except OSError as error:
        raise PinloopError(f"{settings.dead_letter_path}: {error.strerror}") from None


def _replay(settings: Any, letters: Sequence[Any]) -> tuple[list[str], dict[str, str]]:
    """Store what the letters hold; return the ids of those that are stored, and id -> why for the others."""
    from listener.refused import refused
    from store import StoreError

    points: dict[str, list[tuple[str, Any]]] = defaultdict(list)  # who refused -> (id, point)
    refusals: dict[str, str] = {}
    stores = _stores(settings)
    try:
        read = _reader(settings, stores["main"], [one for one in letters if "point" not in one.said])
        for one in letters:
            by = "main" if one.said.get("by") in _MAIN else str(one.said.get("by"))
            if by not in stores:
                refusals[one.id] = f"{by!r} is none of second_stores now"
                continue
            try:
                points[by] += [(one.id, point) for point in read(one.said)]
            except (ValueError, KeyError, TypeError) as error:
                refusals[one.id] = str(error) or type(error).__name__
        for by, found in points.items():
            for index, why in refused(stores[by].write, [point for _, point in found]):
                refusals[found[index][0]] = str(why)
    except StoreError as error:
        raise PinloopError(str(error), "Nothing was taken out of the file; try again when the store works.") from None
    finally:
        for store in stores.values():
            store.close()
    return [one.id for one in letters if one.id not in refusals], refusals


def _stores(settings: Any) -> dict[str, Any]:
    from listener.second_stores import second_stores
    from service.errors import SettingsError
    from store import StoreError, open_store

    try:
        return {"main": open_store(settings), **{name: sink for name, (sink, _) in second_stores(settings).items()}}
    except (SettingsError, StoreError) as error:
        raise PinloopError(str(error)) from None


def _reader(settings: Any, store: Any, messages: Sequence[Any]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return what makes points of a letter; it raises ValueError for what still cannot be read.

    Raises:
        StoreError: the store does not say what it has.
    """
    from inputs import load
    from listener.assemble import Assembler
    from listener.decode import Decoder
    from listener.foreign import foreign
    from listener.identity import asked_per_device
    from listener.queue import Received
    from listener.translate import Translator
    from service.errors import SettingsError
    from store import Point

    assembler = Assembler()
    if messages:
        assembler.preload(store.identities(asked_per_device(len(store.devices()))))
    try:
        decoder = Decoder(settings.mqtt_prefix, settings.topics_extra, foreign(load(settings.inputs_path)))
    except SettingsError as error:
        raise PinloopError(str(error)) from None
    translator = Translator(decoder, assembler)

    def read(said: dict[str, Any]) -> Sequence[Any]:
        if "point" in said:
            kept = said["point"]
            return [Point(kept["measurement"], tuple(kept["tags"].items()), kept["fields"], said["ts_ns"])]
        if "payload_bytes" in said:
            raise ValueError("its payload was too large to be kept whole")
        text = said.get("payload")
        payload = base64.b64decode(said["payload_base64"]) if text is None else text.encode()
        received = Received(said["topic"], payload, False, 1, 0, 0, said["received_ns"])
        points = translator.batch([received], 1_000_000).points
        for _, why in translator.rejected():
            raise ValueError(why)
        return points

    return read


_WHERE = "--data-dir names the folder of `pinloop up`; the stack: docker compose run --rm listener pinloop deadletter"
