"""A board: gives a device power, and starts it again when it resets, crashes or its watchdog bites.

One line per event on standard output. The device dies with the board, also when
the board is killed.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from firmware.sim.engine import Engine

__all__ = ["Board"]

_PR_SET_PDEATHSIG = 1
_RESET_EXIT_CODE = 90  # of firmware/sim/stand_ins/machine.py
# machine.*_RESET
_POWER_ON, _HARD, _WATCHDOG, _SOFT = 1, 2, 3, 5
# A device that ends sooner after its start than this is restarted with a growing pause.
_STEADY_S = 5.0
_PAUSES_S = (0.1, 5.0)


class Board:
    """The board of one device.

    Args:
        folder: the device's.
        engine: what it runs on.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine
        self._process: subprocess.Popen[bytes] | None = None
        self._off = False

    def run(self) -> int:
        """Power the device until SIGTERM or SIGINT; return 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.switch_off())
        cause = _POWER_ON
        pause_s = _PAUSES_S[0]
        while not self._off:
            started_s = time.monotonic()
            code = self._power(cause)
            if self._off:
                break
            cause, what = _ended(code)
            if time.monotonic() - started_s > _STEADY_S:
                pause_s = _PAUSES_S[0]
            self._say(f"{what}; starts again in {pause_s:g} s")
            self._wait(pause_s)
            pause_s = min(pause_s * 2, _PAUSES_S[1])
        self._say("off")
        return 0

    def switch_off(self) -> None:
        """Take the power away (called from a signal handler)."""
        self._off = True
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def _power(self, cause: int) -> int:
        """Run the device once, to its end, and return its exit code."""
        (self._folder / "reset_cause").write_text(str(cause))
        self._process = subprocess.Popen(
            [*self._engine.argv, "-m", "start"],
            cwd=self._folder,
            env={**os.environ, **self._engine.env},
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        if self._off:  # the signal came while it was being started
            self._process.terminate()
        self._say(f"started with {self._engine.name}, process {self._process.pid}")
        return self._process.wait()

    def _wait(self, pause_s: float) -> None:
        """Sleep, in slices: Python finishes a sleep that a signal has interrupted."""
        end_s = time.monotonic() + pause_s
        while not self._off and time.monotonic() < end_s:
            time.sleep(0.05)

    def _say(self, what: str) -> None:
        print(f"board {self._folder.name}: {what}", flush=True)


def _ended(code: int) -> tuple[int, str]:
    """Return the reset cause that the device's end means, and the words for it."""
    if code == _RESET_EXIT_CODE:
        return _SOFT, "reset"
    if code == -signal.SIGALRM:
        return _WATCHDOG, "its watchdog has bitten"
    return _HARD, f"killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _die_with_parent() -> None:
    """Ask Linux to kill the device when the board dies (runs in the child before exec)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
