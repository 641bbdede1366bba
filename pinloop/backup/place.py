"""Puts a backup in place: unpacked and checked beside what is there, then swapped; what was there is kept aside."""

import contextlib
import fcntl
import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pinloop.backup.archive import Manifest, unpack
from pinloop.backup.own import CHECKOUT, OWN_ROOTS, OwnFile, put_back
from pinloop.backup.plan import LOCAL, STACK, STACK_ROOTS
from pinloop.backup.truth import renew_claims, renew_rules
from pinloop.errors import PinloopError
from pinloop.local.instance import locked
from pinloop.local.layout import Layout

__all__ = ["Restored", "restore_local", "restore_stack"]


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes:
        manifest: of the backup.
        aside: where what was there before is now.
        own: what became of the stack's files that its owner edits.
        changed: names of such files in local mode that are others now than before.
    """

    manifest: Manifest
    aside: list[Path]
    own: list[OwnFile] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def restore_local(file: Path, layout: Layout) -> Restored:
    """Make the data folder what it was; the folder of now is renamed.

    Raises:
        PinloopError: an instance runs on it, the backup cannot be used, or the folder cannot be written.
    """
    data = layout.data.resolve()
    new = data.parent / f".{data.name}.restoring-{os.getpid()}"
    with locked(layout), _removed(new), _explained(data):
        new.mkdir(mode=0o700)
        manifest = unpack(file, lambda name: new / name.removeprefix("data/") if name.startswith("data/") else None)
        _check_mode(file, manifest, LOCAL)
        for kept in manifest.files.values():
            (new / kept.name.removeprefix("data/")).chmod(kept.mode & 0o777)
        _renew(new / "claims.db", new / "rules.db")
        _like(data, new)
        aside = data.with_name(f"{data.name}.before-restore-{_stamp()}")
        data.rename(aside)
        try:
            new.rename(data)
        except OSError:
            aside.rename(data)
            raise
        if {path.name for path in aside.iterdir()} <= {"lock", "running.json"}:
            shutil.rmtree(aside)
            return Restored(manifest, [])
    edited = (layout.rules, layout.routes, layout.pins, layout.inputs)
    changed = [one.name for one in edited if _differ(data / one.name, aside / one.name)]
    return Restored(manifest, [aside], changed=changed)


def restore_stack(file: Path, roots: Mapping[str, Path] = STACK_ROOTS, checkout: Path = CHECKOUT) -> Restored:
    """Make the stack's volumes what they were; in each, what is there now goes into a folder of it.

    Of the volume `secrets` only `owner` is replaced: `setup` makes the services' copies from it. The owner's own files,
    below the folder `checkout`, are never written over (`own.py`).

    Raises:
        PinloopError: the webhook runs, the backup cannot be used, or a volume cannot be written.
    """
    new = {root: path / f".restoring-{os.getpid()}" for root, path in roots.items()}

    with _webhook_is_away(roots["webhook"]), contextlib.ExitStack() as stack, _explained(roots["secrets"]):
        for folder in new.values():
            stack.enter_context(_removed(folder))
        own = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def place(name: str) -> Path | None:
            root, _, rest = name.partition("/")
            folder = own / root if root in OWN_ROOTS else new.get(root)
            return folder / rest if folder and rest else None

        manifest = unpack(file, place)
        _check_mode(file, manifest, STACK)
        for kept in manifest.files.values():
            root = kept.name.partition("/")[0]
            target = place(kept.name)
            if target and root in new:
                target.chmod(kept.mode & 0o777)
                _give(target, kept.uid, kept.gid, new[root])
        _renew(new["webhook"] / "claims.db", new["rules"] / "state.db")
        # First what may fail and has changed nothing that runs: a folder that cannot be written.
        owned = [kept for kept in manifest.files.values() if kept.name.partition("/")[0] in OWN_ROOTS]
        files = [put_back(kept, own / kept.name, checkout, file, _stamp()) for kept in owned]
        aside = [_swap(path, new[root], only="owner" if root == "secrets" else "") for root, path in roots.items()]
    return Restored(manifest, [path for path in aside if path], files)


def _differ(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and not filecmp.cmp(one, other, shallow=False)


def _swap(root: Path, new: Path, only: str) -> Path | None:
    """Move what is in a volume into a folder of it, and the content of `new` up; return that folder."""
    if not new.is_dir():
        return None
    aside = root / f"before-restore-{_stamp()}"
    before = [
        path for path in root.iterdir() if path != new and (not only or path.name == only) and not _stays(path.name)
    ]
    if before:
        aside.mkdir(mode=0o700)
    for path in before:
        path.rename(aside / path.name)
    for path in list(new.iterdir()):
        if os.geteuid() == 0 and not only:  # a volume that Docker made just now belongs to root
            os.chown(root, path.stat().st_uid, path.stat().st_gid)
        path.rename(root / path.name)
    return aside if before else None


def _stays(name: str) -> bool:
    """Tell whether an entry of a volume is no content: what earlier restores put aside, and locks."""
    return name.startswith("before-restore-") or name.endswith(".lock")


def _like(old: Path, new: Path) -> None:
    """Give the folder `new` the permissions of `old`, and everything in it to the same owner when root runs this."""
    stat = old.stat()
    new.chmod(stat.st_mode & 0o777)
    if os.geteuid() == 0:
        for path in (new, *new.rglob("*")):
            os.chown(path, stat.st_uid, stat.st_gid)


def _give(path: Path, uid: int, gid: int, top: Path) -> None:
    """Give a file, and the folders above it as far as `top`, to its owner; only root can."""
    if os.geteuid() != 0:
        return
    os.chown(path, uid, gid)
    while (path := path.parent) != top:
        os.chown(path, uid, gid)


def _renew(claims: Path, rules: Path) -> None:
    for path, renew in ((claims, renew_claims), (rules, renew_rules)):
        if path.exists():
            renew(path)


def _check_mode(file: Path, manifest: Manifest, mode: str) -> None:
    if manifest.mode != mode:
        what = {LOCAL: "`pinloop up`", STACK: "the stack (--stack)"}.get(manifest.mode, repr(manifest.mode))
        raise PinloopError(f"'{file}' is a backup of {what}", "Restore it there; nothing was changed.")


@contextlib.contextmanager
def _webhook_is_away(folder: Path) -> Iterator[None]:
    """Hold the lock that a running webhook holds (webhook/database.py).

    A new volume has none. Made here it would belong to root, and shut the webhook out.
    """
    try:
        lock = (folder / "claims.db.lock").open("r+")
    except FileNotFoundError:
        if not folder.is_dir():
            raise PinloopError(f"there is no '{folder}'", "Mount the volumes first.") from None
        yield
        return
    except OSError as error:
        raise PinloopError(f"'{folder}' cannot be written ({error.strerror})", "Mount the volumes first.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PinloopError("the stack runs", "Stop it first: docker compose --profile demo stop") from None
        yield


@contextlib.contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """Leave nothing of `folder` behind, before and after."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PinloopError(
            f"'{error.filename or folder}' cannot be put in place ({error.strerror or error})",
            "Look at the rights and the room there; what was there before is in its place or beside it.",
        ) from None


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%S")
