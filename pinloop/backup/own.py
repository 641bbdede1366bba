"""The stack's files that its owner edits: kept from where they are, put back where none is, never written over.

rules.yml, routes.yml, pins.yml and inputs.toml are where RULES_FILE and the like point, `.env` and
docker-compose.override.yml beside docker-compose.yml; `stack.sh` mounts them. A guard that was made stricter after the
backup must not be loosened by a restore that was meant for the readings: so what is there stays in force, and what the
backup has is put beside it for the owner to compare.
"""

import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pinloop.backup.archive import Kept
from pinloop.backup.plan import Item, files_in

__all__ = [
    "BESIDE",
    "CHECKOUT",
    "OUTSIDE",
    "OWN",
    "OWN_ROOTS",
    "PUT_BACK",
    "SAME",
    "OwnFile",
    "own_items",
    "put_back",
]

# First part of a name in the archive -> where it is mounted: what is below docker-compose.yml's folder, and the rest.
OWN = "own"
OWN_ROOTS: Mapping[str, Path] = {OWN: Path("/own"), "elsewhere": Path("/elsewhere")}
CHECKOUT = OWN_ROOTS[OWN]
_SHIPPED = Path(__file__).parents[2]  # the samples, as this version has them

PUT_BACK, SAME, BESIDE, OUTSIDE = "put back", "the same", "beside", "outside"


@dataclass(frozen=True)
class OwnFile:
    """What became of a file of the owner.

    Attributes:
        name: below docker-compose.yml's folder; of a file from elsewhere its last part.
        state: PUT_BACK; SAME: nothing was done; BESIDE: what is there stays; OUTSIDE: it is beside the archive.
        path: where what the backup has is now.
    """

    name: str
    state: str
    path: Path


def own_items(roots: Mapping[str, Path] = OWN_ROOTS, shipped: Path = _SHIPPED) -> Iterator[Item]:
    """Return the owner's files; a sample that nobody changed is none."""
    for root, folder in roots.items():
        for item in files_in(root, folder):
            sample = shipped / item.name.partition("/")[2]
            if not (sample.is_file() and filecmp.cmp(sample, item.path, shallow=False)):
                yield item


def put_back(kept: Kept, content: Path, checkout: Path, archive: Path, stamp: str) -> OwnFile:
    """Put a file of the owner where it was, or beside.

    1. Where it was is outside of the checkout, hidden, or behind a link: beside the archive, as ARCHIVE.NAME.
    2. Nothing is there: it is put there.
    3. The same is there: nothing is done.
    4. Something else is there: beside it, as NAME.from-backup-STAMP.

    Args:
        kept, content: its name and permissions, and the unpacked file.
        checkout: docker-compose.yml's folder; may be missing.
        archive: the backup.
        stamp: of this restore.

    Raises:
        OSError: it cannot be written.
    """
    root, _, name = kept.name.partition("/")
    target = checkout / name
    if root != OWN or not checkout.is_dir() or not _is_plain(checkout, name):
        name = target.name
        beside = archive.with_name(f"{archive.name}.{name}")
        return OwnFile(name, OUTSIDE, _copy(content, beside, kept.mode, archive.parent))
    if not os.path.lexists(target):
        return OwnFile(name, PUT_BACK, _copy(content, target, kept.mode, checkout))
    if target.is_file() and not target.is_symlink() and filecmp.cmp(content, target, shallow=False):
        return OwnFile(name, SAME, target)
    beside = target.with_name(f"{target.name}.from-backup-{stamp}")
    return OwnFile(name, BESIDE, _copy(content, beside, kept.mode, checkout))


def _is_plain(checkout: Path, name: str) -> bool:
    """Tell whether a name leads to an ordinary place: nothing hidden but `.env`, no folder that is a link."""
    *folders, last = name.split("/")
    if (last.startswith(".") and name != ".env") or any(folder.startswith(".") for folder in folders):
        return False
    return not any(checkout.joinpath(*folders[: depth + 1]).is_symlink() for depth in range(len(folders)))


def _copy(content: Path, target: Path, mode: int, top: Path) -> Path:
    """Copy to a file that belongs to whom the folder `top` belongs to, and so do the folders made for it."""
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # of an earlier restore; a link is not followed
    target.touch(mode=0o600, exist_ok=False)  # never readable by others, not even while it is written: `.env`
    shutil.copyfile(content, target)
    target.chmod(mode & 0o777)
    if os.geteuid() == 0:
        owner = top.stat()
        for path in (target, *missing):
            os.chown(path, owner.st_uid, owner.st_gid)
    return target
