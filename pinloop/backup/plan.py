"""What is kept: which files of a Pinloop go into a backup, under which names, and in which order.

Left out is what the parts make anew: logs, broker files, each service's copies of the secrets, and the broker's
database: retained messages are a cache of the claims, and devices publish theirs again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from listener.dead_file import older
from pinloop.local.layout import Layout

__all__ = ["DATABASE", "FILE", "LOCAL", "STACK", "STACK_ROOTS", "Item", "files_in", "local_items", "stack_items"]

LOCAL, STACK = "local", "stack"
DATABASE, FILE = "database", "file"

# First part of a name in the archive -> where it is mounted in the container that makes or restores a backup.
STACK_ROOTS: Mapping[str, Path] = {
    "secrets": Path("/secrets"),
    "webhook": Path("/data/webhook"),
    "rules": Path("/data/rules"),
    "listener": Path("/data/listener"),
    "devices": Path("/data/devices"),
    "grafana": Path("/data/grafana"),
    "influxdb": Path("/data/influxdb"),
}


@dataclass(frozen=True)
class Item:
    """A file to keep.

    Attributes:
        name: in the archive, parts divided by "/".
        path: where it is now.
        kind: DATABASE (SQLite, copied as of one moment) or FILE.
    """

    name: str
    path: Path
    kind: str = FILE


def local_items(layout: Layout, rules_path: Path) -> Iterator[Item]:
    """Return what local mode keeps.

    The claims come before the state of the rules: the rules then know at least all that the claims know, and say it
    again after a restore (`truth.py`). A reading goes from the spool to the dead letters or to the store, and from the
    dead letters to the store: in this order none that was acknowledged before the backup is missing. One that is copied
    twice replaces itself when the spool is replayed.
    """
    yield from files_in("data/secrets", layout.secrets)
    yield from _one("data/claims.db", layout.claims, DATABASE)
    yield from _one("data/tokens.json", layout.tokens)
    yield from _one("data/rules.db", layout.rules_state, DATABASE)
    yield from files_in("data/devices", layout.devices)
    yield from _one("data/rules.yml", rules_path)
    yield from _one("data/pins.yml", layout.pins)
    yield from _one("data/routes.yml", layout.routes)
    yield from _one("data/inputs.toml", layout.inputs)
    yield from _spool("data/spool", layout.spool)
    yield from _letters("data/dead-letters.jsonl", layout.dead_letters)
    yield from _one("data/store.db", layout.store, DATABASE)


def stack_items(roots: Mapping[str, Path] = STACK_ROOTS) -> Iterator[Item]:
    """Return what the stack keeps of its volumes, in the same order; InfluxDB's own files must not change meanwhile."""
    yield from files_in("secrets/owner", roots["secrets"] / "owner")
    yield from _one("webhook/claims.db", roots["webhook"] / "claims.db", DATABASE)
    yield from _one("webhook/tokens.json", roots["webhook"] / "tokens.json")
    yield from _one("rules/state.db", roots["rules"] / "state.db", DATABASE)
    yield from files_in("devices", roots["devices"])
    yield from _spool("listener/spool", roots["listener"] / "spool")
    yield from _letters("listener/dead-letter.jsonl", roots["listener"] / "dead-letter.jsonl")
    yield from _one("grafana/grafana.db", roots["grafana"] / "grafana.db", DATABASE)
    yield from files_in("influxdb", roots["influxdb"])


def _one(name: str, path: Path, kind: str = FILE) -> Iterator[Item]:
    if path.is_file():
        yield Item(name, path, kind)


def _spool(name: str, folder: Path) -> Iterator[Item]:
    """Return the listener's spool, which may be written and shortened meanwhile.

    Cursors before segments: an older cursor costs time, a newer one would pass over what is not in the copy.
    """
    found = [item for item in files_in(name, folder) if item.path.suffix in (".cursor", ".spool")]
    yield from sorted(found, key=lambda item: (item.path.suffix, item.name))


def _letters(name: str, path: Path) -> Iterator[Item]:
    """Return the file of dead letters, then the full one before it: what moves meanwhile is copied twice."""
    yield from _one(name, path)
    yield from _one(name + ".1", older(path))


def files_in(name: str, folder: Path) -> Iterator[Item]:
    """Return the regular files below a folder; links are not followed, what an earlier restore put aside is left."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        aside = any(part.startswith(("before-restore-", ".restoring-")) for part in parts)
        if path.is_file() and not path.is_symlink() and path.name != ".lock" and not aside:
            yield Item("/".join((name, *parts)), path)
