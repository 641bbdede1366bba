"""Finds the interpreter that a virtual device runs on.

Order: `$MICROPYTHON`, `micropython` on PATH, the cache that `make micropython`
fills, and CPython when there is none of them.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware.sim.fetch_micropython import cache_folder, launcher

__all__ = ["ENGINES", "Engine", "EngineError", "find"]

ENGINES = ("auto", "micropython", "cpython")

_ROOT = Path(__file__).resolve().parents[2]
_SIM = Path(__file__).resolve().parent
_USER_CACHE = Path.home() / ".cache" / "pinloop" / "micropython"


class EngineError(Exception):
    """The wanted interpreter is not here; the message says how to get it."""


@dataclass(frozen=True)
class Engine:
    """An interpreter.

    Attributes:
        name: "micropython" or "cpython".
        argv: the command; more words (`-m`, a file) may follow.
        env: variables to add to the environment: where it finds the firmware and the stand-ins.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str]


def find(wanted: str = "auto", environ: Mapping[str, str] = os.environ) -> Engine:
    """Return the interpreter to use.

    Raises:
        EngineError: `micropython` was wanted and is not here.
    """
    argv = None if wanted == "cpython" else _micropython(environ)
    if argv:
        # .frozen first: asyncio lives there, and an installed package of ours must not hide a frozen module.
        path = ":".join([".frozen", str(_SIM / "stand_ins"), str(_ROOT)])
        return Engine("micropython", argv, {"MICROPYPATH": path})
    if wanted == "micropython":
        raise EngineError("MicroPython is not here: `make micropython` fetches it, or set MICROPYTHON to its path")
    path = os.pathsep.join([str(_SIM / "stand_ins"), str(_SIM / "cpython"), str(_ROOT)])
    return Engine("cpython", [sys.executable], {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"})


def _micropython(environ: Mapping[str, str]) -> list[str] | None:
    named = environ.get("MICROPYTHON")
    if named:
        words = shlex.split(named)
        if not shutil.which(words[0]):
            raise EngineError(f"MICROPYTHON: {named!r} is not a program")
        return words
    found = shutil.which("micropython", path=environ.get("PATH"))
    if found:
        return [found]
    return launcher(cache_folder()) or launcher(_USER_CACHE)
