"""A file that people edit while a service follows it: has it changed, and what is told of its mistakes."""

import time
from collections.abc import Sequence
from pathlib import Path

from service.document import Problem

__all__ = ["WatchedFile", "mistakes"]

_Signature = tuple[int, int, int] | None


class WatchedFile:
    """Tells when a file is worth reading again; it reads nothing itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._tried = self._signature()

    def changed(self) -> bool:
        """Tell whether the file is another than the one tried last, and stands still since the call before.

        A file that is just being written could be read half: valid, with its last entries missing.
        """
        before, self._seen = self._seen, self._signature()
        return self._seen != self._tried and self._seen == before

    def tried(self) -> None:
        """Note that the file as it is now is about to be read."""
        self._tried = self._signature()

    def _signature(self) -> _Signature:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def mistakes(problems: Sequence[Problem], what: str, loaded_s: float) -> str | None:
    """Say for /readyz that a file's mistakes keep the older `what` in force, None when there are none.

    Args:
        loaded_s: since when those in force are, seconds since 1970.
    """
    if not problems:
        return None
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(loaded_s))
    return f"{len(problems)} mistake(s), the {what} of {since} stay in force; first: {problems[0]}"
