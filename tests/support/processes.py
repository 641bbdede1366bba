"""Child processes of tests: each is owned, and gone afterwards, also when the test fails."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill the child when the test process dies (runs in the child before exec)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child(subprocess.Popen):  # type: ignore[type-arg]
    """A child in a session of its own, with its output in a file.

    Attributes:
        output: the file that standard output and error go to.
    """

    output: Path

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors="replace")

    def end(self, timeout_s: float = 5) -> int:
        """Stop it with SIGTERM, after `timeout_s` seconds SIGKILL it and all that it started; return its code."""
        if self.poll() is None:
            self.terminate()
            try:
                self.wait(timeout_s)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait(5)


def start(args: Sequence[str | Path], output: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Child:
    """Start a child; `python` as the first argument is this interpreter. The caller ends it (see `owned`)."""
    words = [str(arg) for arg in args]
    if words[0] == "python":
        words[0] = sys.executable
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
    with output.open("ab") as sink:
        child = Child(
            words,
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    child.output = output
    return child


def children(pid: int) -> list[int]:
    """Return the direct children of a process (Linux)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    """Return all processes below a process."""
    return [below for child in children(pid) for below in (child, *descendants(child))]


@contextlib.contextmanager
def owned(
    args: Sequence[str | Path], output: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[Child]:
    """Run a child for the length of a `with` block."""
    child = start(args, output, env, cwd)
    try:
        yield child
    finally:
        child.end()
