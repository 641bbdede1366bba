"""The backup's file: a .tar.gz whose last member, manifest.json, says what is in it.

Writing ends with a rename, so the file is whole or not there. Reading trusts nothing: names that lead elsewhere,
links, files that are not as the manifest says, and a missing end are refused before anything is put in place.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from pinloop.backup.plan import DATABASE, Item
from pinloop.backup.snapshot import copy_database
from pinloop.errors import PinloopError
from service.usage import version

__all__ = ["FORMAT", "Kept", "Manifest", "unpack", "write"]

FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_MOST_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Kept:
    """A file in a backup.

    Attributes:
        name: parts divided by "/".
        size_bytes, sha256: of its content.
        mode, uid, gid: permissions and owner.
    """

    name: str
    size_bytes: int
    sha256: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself.

    Attributes:
        mode: "local" or "stack".
        pinloop: the version that made it.
        made_at_s: when it was begun, seconds since 1970.
        files: by name.
    """

    mode: str
    pinloop: str
    made_at_s: float
    files: dict[str, Kept]


def write(path: Path, mode: str, items: Iterable[Item]) -> Manifest:
    """Write the backup `path` (replacing one of that name), readable by its owner only.

    1. Copy an item as of one moment, into a folder beside `path`.
    2. Hash and pack the copy; the manifest comes last.
    3. Sync, rename to `path`, sync the folder. A crash before leaves the folder, which the next backup removes.

    Raises:
        PinloopError: something cannot be read, or there is no room; `path` is as it was.
    """
    made_at_s = time.time()
    kept: dict[str, Kept] = {}
    try:
        with _workplace(path) as folder:
            packed, copy = folder / "archive", folder / "copy"
            with _private(packed) as file:
                with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
                    for item in items:
                        if one := _pack(tar, item, copy):
                            kept[one.name] = one
                    manifest = Manifest(mode, version(), made_at_s, kept)
                    _add(tar, _MANIFEST, io.BytesIO(text := _encode(manifest)), len(text))
                file.flush()
                os.fsync(file.fileno())
            packed.replace(path)
            _sync(path.parent)
    except OSError as error:
        raise PinloopError(
            f"no backup was made: '{error.filename or path}' ({(error.strerror or str(error)).lower()})",
            "Look at its rights and the room beside the backup: a copy of the largest database has to fit there too.",
        ) from None
    return manifest


def unpack(path: Path, place: Callable[[str], Path | None]) -> Manifest:
    """Unpack the backup `path` and check every byte of it.

    Args:
        place: where a file of that name goes (its folders are made, it must not exist); None: it is read, not written.

    Raises:
        PinloopError: it is no backup, damaged, of a newer format, or has names that lead elsewhere.
    """
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() else None
                if source is None or not _is_safe(member.name) or member.name in found or manifest:
                    raise PinloopError(f"'{path}' is not a backup of ours: it has an entry {member.name!r}", _NOTHING)
                if member.name == _MANIFEST:
                    if member.size > _MANIFEST_MOST_BYTES:
                        raise ValueError("its manifest is too long")
                    manifest = _decode(path, source.read())
                else:
                    found[member.name] = _extract(source, member.size, place(member.name))
            while stream.read(_BLOCK_BYTES):  # to the end, where gzip keeps its check sum
                pass
    except (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise PinloopError(f"'{path}' is damaged ({error})", _NOTHING) from None
    except OSError as error:
        if error.errno is None:  # gzip's own: not a gzip file, a wrong check sum
            raise PinloopError(f"'{path}' is damaged ({error})", _NOTHING) from None
        raise PinloopError(f"'{error.filename or path}': {(error.strerror or '').lower()}", _NOTHING) from None
    if manifest is None:
        raise PinloopError(f"'{path}' is damaged (its end is missing)", _NOTHING)
    told = {one.name: (one.size_bytes, one.sha256) for one in manifest.files.values()}
    for name in told.keys() | found.keys():
        if told.get(name) != found.get(name):
            raise PinloopError(f"'{path}' is damaged ({name} is not as its manifest says)", _NOTHING)
    return manifest


_NOTHING = "Nothing was changed; use another backup."


def _pack(tar: tarfile.TarFile, item: Item, copy: Path) -> Kept | None:
    try:
        stat = item.path.stat()
        if item.kind == DATABASE:
            copy_database(item.path, copy)
        else:
            shutil.copyfile(item.path, copy, follow_symlinks=False)
    except FileNotFoundError:
        if item.kind == DATABASE or not copy.parent.is_dir():
            raise
        return None  # a file of a device that was replaced just now
    try:
        with copy.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            size = source.tell()
            source.seek(0)
            _add(tar, item.name, source, size)
    finally:
        copy.unlink()
    return Kept(item.name, size, digest, stat.st_mode & 0o777, stat.st_uid, stat.st_gid)


def _add(tar: tarfile.TarFile, name: str, source: Any, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
    tar.addfile(entry, source)


def _extract(source: Any, size: int, target: Path | None) -> tuple[int, str]:
    """Write a member to the new file `target`; return (its size in bytes, its SHA-256)."""
    digest, done = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        file = None
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if size > shutil.disk_usage(target.parent).free:
                raise OSError(28, "no space left for it", str(target))
            file = stack.enter_context(_private(target))
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if file:
                file.write(block)
        if file:
            file.flush()
            os.fsync(file.fileno())
    return done, digest.hexdigest()


def _is_safe(name: str) -> bool:
    """Tell whether a name stays below the folder that it is unpacked in."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\\" not in name and name.isprintable()


def _encode(manifest: Manifest) -> bytes:
    files = [asdict(one) for one in manifest.files.values()]
    return json.dumps({"format": FORMAT, **asdict(manifest), "files": files}, indent=1).encode()


def _decode(path: Path, text: bytes) -> Manifest:
    said = json.loads(text)
    if not isinstance(said["format"], int) or said["format"] > FORMAT:
        raise PinloopError(
            f"'{path}' was made by a newer Pinloop (format {said['format']}; this one reads up to {FORMAT})",
            f"Restore it with Pinloop {said.get('pinloop', 'of that time')} or newer.",
        )
    files = [Kept(**one) for one in said["files"]]
    return Manifest(said["mode"], said["pinloop"], float(said["made_at_s"]), {one.name: one for one in files})


@contextlib.contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """Give a folder of our own beside `path`; those that crashed backups left are removed."""
    prefix = f".{path.name}.partial-"
    for left in path.parent.glob(f"{prefix}*"):
        if not _alive(left.name.removeprefix(prefix)):
            shutil.rmtree(left, ignore_errors=True)
    folder = path.parent / f"{prefix}{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def _private(path: Path) -> IO[bytes]:
    """Open a new file that only its owner can read; a link of that name is not followed."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")


def _sync(folder: Path) -> None:
    """Make a rename in `folder` outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
