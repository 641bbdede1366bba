"""Runs the parts: starts them in order, restarts one that dies, stops them in order.

A child never outlives this process: on Linux the kernel kills it when its
parent dies, even by SIGKILL. Everything here runs on the main thread, because
that kernel promise is bound to the thread that started the child.
"""

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Part", "Runner", "Supervisor"]

_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 5.0  # pins are being held by leases meanwhile: better a wasted start than a late one
_STEADY_S = 10.0  # a part that ran this long starts again without back-off
_STOP_TIMEOUT_S = 8.0
_LOG_LIMIT_BYTES = 5_000_000

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Part:
    """One process of the loop.

    Attributes:
        name: "broker", "listener", ..., "device pot".
        argv: the command.
        env: variables on top of this process's.
        address: where it listens, for people; "" when it does not.
        ready_url: answers 200 when the part is ready; "" when being alive is all there is to know.
        stop_rank: parts stop in rising order; equal ranks together.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    ready_url: str = ""
    stop_rank: int = 0


class Runner:
    """A part and the process that is it at the moment."""

    def __init__(self, part: Part, log_folder: Path) -> None:
        self.part = part
        self.log = log_folder / (part.name.replace(" ", "-") + ".log")
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.starts_again_at_s = 0.0  # monotonic
        self.ended = ""
        self._failures = 0
        self._started_at_s = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._started_at_s > 0

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._started_at_s

    def start(self) -> None:
        """Start the process; its output is appended to `log`."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > _LOG_LIMIT_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.part.argv,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.part.env},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the supervisor only, which stops the parts in order
                preexec_fn=_die_with_parent if _libc else None,
            )
        self._started_at_s = time.monotonic()

    def tend(self) -> str | None:
        """Notice an end and start again when it is time; return what happened, None for nothing new."""
        now_s = time.monotonic()
        if self.alive:
            return None
        if self.process is not None:
            code = self.process.returncode
            self.process = None
            self._failures = 0 if self.age_s > _STEADY_S else self._failures + 1
            delay_s = min(_LONGEST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2 ** max(0, self._failures - 1))
            self.starts_again_at_s = now_s + delay_s
            # A killed process did not say why: its last line is about something else.
            self.ended = f"killed by signal {-code}" if code < 0 else f"ended with code {code}; {self.last_line()}"
            return f"{self.ended}; starts again in {delay_s:g} s"
        if now_s >= self.starts_again_at_s:
            self.restarts += 1
            self.start()
            return f"started again (restart {self.restarts})"
        return None

    def last_line(self) -> str:
        """Return the last line that it printed, "" for none."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:160] if lines else ""

    def silent_s(self) -> float:
        """Return how many seconds ago it printed something."""
        try:
            return time.time() - self.log.stat().st_mtime
        except OSError:
            return math.inf

    def signal_stop(self) -> None:
        """Ask the process to end."""
        if self.process is not None and self.alive:
            self.process.terminate()

    def end(self, deadline_s: float) -> bool:
        """Wait for the end until `deadline_s` (monotonic), then kill; return whether it ended by itself."""
        if self.process is None:
            return True
        clean = True
        try:
            self.process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            clean = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its own children too
        self.process.wait()
        self.process = None
        return clean


class Supervisor:
    """Keeps the parts running.

    Args:
        parts: in the order in which they start.
        log_folder: each part's output goes to a file in it.
        on_event: called with (part name, what happened).
    """

    def __init__(self, parts: Sequence[Part], log_folder: Path, on_event: Callable[[str, str], None]) -> None:
        self.runners = [Runner(part, log_folder) for part in parts]
        self._on_event = on_event

    def start(self, wait_for: Mapping[str, Callable[[], bool]], timeout_s: float = 15.0) -> str | None:
        """Start the parts in order; before a part named in `wait_for` wait until that is true.

        Returns:
            The part before which it did not become true within `timeout_s` seconds (nothing after it was started),
            None when all were started.
        """
        for runner in self.runners:
            deadline_s = time.monotonic() + timeout_s
            probe = wait_for.get(runner.part.name)
            while probe and not probe():
                if time.monotonic() > deadline_s:
                    return runner.part.name
                self.tend()
                time.sleep(0.02)
            runner.start()
        return None

    def tend(self) -> None:
        """Look after every part once; call it a few times a second."""
        for runner in self.runners:
            event = runner.tend() if runner.started else None
            if event:
                self._on_event(runner.part.name, event)

    def stop(self, pause_s: Mapping[int, float] | None = None) -> None:
        """Stop everything in order of `stop_rank`; nothing is left afterwards.

        Args:
            pause_s: rank -> seconds to wait after that rank has ended (a broker without persistent sessions needs
                a moment to hand over what it has acknowledged).
        """
        for rank in sorted({runner.part.stop_rank for runner in self.runners}):
            group = [runner for runner in self.runners if runner.part.stop_rank == rank]
            for runner in group:
                runner.signal_stop()
            deadline_s = time.monotonic() + _STOP_TIMEOUT_S
            for runner in group:
                if not runner.end(deadline_s):
                    self._on_event(runner.part.name, f"did not stop within {_STOP_TIMEOUT_S:g} s, killed")
            time.sleep((pause_s or {}).get(rank, 0.0))


def _die_with_parent() -> None:
    """Runs in the child before exec: the kernel kills it when the supervisor dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
