"""Stands in for MicroPython's `machine` on a computer: each pin is a plain file.

`pin4` holds 0 or 1, `pwm5` a duty of 0..65535, `adc32` a number of 0..65535 or
`sweep <period_s>` (a triangle wave). They lie in the working directory, the
device's folder: a shell or a test reads and drives them. Runs on MicroPython's
unix port and on CPython.
"""

import os
import sys
import time

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

# The board (firmware/sim/board.py) restarts a device that ends with this.
RESET_EXIT_CODE = 90

try:
    import ffi

    # SIGALRM kills the process where no handler is set, which is what a watchdog does to a chip.
    _alarm = ffi.open(None).func("I", "alarm", "I")
except ImportError:
    from signal import alarm as _alarm


def _read(name: str, default: str) -> str:
    try:
        with open(name) as file:
            return file.read().strip() or default
    except OSError:
        return default


def _write(name: str, text: str) -> None:
    """Overwrite in place: `text` always has the same length, so that a reader never sees an empty file."""
    try:
        file = open(name, "r+")
    except OSError:
        file = open(name, "w")
    with file:
        file.write(text)


class Pin:
    """`pin<id>`: written by outputs, read by inputs."""

    IN = 0
    OUT = 1
    PULL_UP = 2

    def __init__(self, id: int, mode: int = -1, pull: int = -1, *, value: "int | None" = None) -> None:
        self.id = id
        self._idle = "1" if pull == Pin.PULL_UP else "0"
        if value is not None:
            self.value(value)

    def value(self, value: "int | None" = None) -> "int | None":
        """Set the pin, or return what it is."""
        if value is None:
            return int(_read("pin%d" % self.id, self._idle))
        _write("pin%d" % self.id, "1" if value else "0")
        return None


class PWM:
    """`pwm<id>`: the duty, five digits."""

    def __init__(self, pin: Pin, freq: int = 1000, duty_u16: int = 0) -> None:
        self._name = "pwm%d" % pin.id
        self.duty_u16(duty_u16)

    def duty_u16(self, duty: int) -> None:
        """Set the duty, 0..65535."""
        _write(self._name, "%05d" % duty)


class ADC:
    """`adc<id>`: a number, or `sweep <period_s>`."""

    ATTN_11DB = 3

    def __init__(self, pin: Pin) -> None:
        self._name = "adc%d" % pin.id

    def atten(self, attenuation: int) -> None:
        """Do nothing: the file holds what comes after the attenuation."""

    def read_u16(self) -> int:
        """Return 0..65535."""
        text = _read(self._name, "0")
        if not text.startswith("sweep"):
            return int(text)
        period_s = float(text.split()[1])
        turn = time.time() % period_s / period_s * 2  # 0..2
        return int(65535 * (turn if turn < 1 else 2 - turn))


class WDT:
    """An alarm of the operating system, in whole seconds."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:
        self._timeout_s = -(-timeout // 1000)
        self.feed()

    def feed(self) -> None:
        """Start the time anew."""
        _alarm(self._timeout_s)


def reset() -> None:
    """End the process; the board starts it again.

    At once, as a chip does: CPython's asyncio cancels the other tasks first, and one may swallow that.
    """
    if hasattr(os, "_exit"):
        sys.stdout.flush()
        os._exit(RESET_EXIT_CODE)
    sys.exit(RESET_EXIT_CODE)


def reset_cause() -> int:
    """Return what the board has noted."""
    return int(_read("reset_cause", "1"))
