"""Watches the device's duties: each must check in, or the chip restarts.

A duty that is late, fails or ends restarts the chip with a reason on file; the
hardware watchdog, fed only when all are in time, catches what hangs the loop
itself. "No broker for ten minutes" is a duty like any other.
"""

import asyncio
import sys

from firmware import board

_ROUND_S = 1


class Supervisor:
    """The duties, their limits and when each was last seen.

    Args:
        watchdog_s: the hardware watchdog's time; longer than a name lookup may stop the loop (ESP8266: has its own).
    """

    def __init__(self, watchdog_s: int) -> None:
        self._watchdog_s = watchdog_s
        self._limits = {}  # duty -> (limit in ms, what its silence means)
        self._seen_ms = {}  # duty -> when it checked in
        self._failed = ""

    def expect(self, duty: str, limit_s: float, reason: str) -> None:
        """From now on `duty` must check in every `limit_s` seconds; `reason` is kept when it does not."""
        self._limits[duty] = (limit_s * 1000, reason)
        self.check_in(duty)

    def check_in(self, duty: str) -> None:
        """Say that `duty` is alive."""
        self._seen_ms[duty] = board.now_ms()

    def start(self, duty: str, work, limit_s: float) -> None:
        """Run a coroutine as a duty."""
        self.expect(duty, limit_s, duty + " hangs")
        asyncio.create_task(self._run(duty, work))

    async def _run(self, duty: str, work) -> None:
        try:
            await work
            self._failed = duty + " ended"
        except Exception as error:
            note(error)
            self._failed = duty + " failed: " + repr(error)

    def late(self) -> str:
        """Return why the chip must restart, "" when all is well."""
        now_ms = board.now_ms()
        for duty, (limit_ms, reason) in self._limits.items():
            if now_ms - self._seen_ms[duty] > limit_ms:
                return reason
        return self._failed

    async def watch(self) -> None:
        """Feed the watchdog while all is well; otherwise restart the chip."""
        dog = board.watchdog(self._watchdog_s)
        while True:
            reason = self.late()
            if reason:
                board.reset(reason)
            dog.feed()
            await asyncio.sleep(_ROUND_S)


def note(error: Exception) -> None:
    """Keep an exception with its place on file, for `log` after the next connect."""
    with open("exception", "w") as file:
        if hasattr(sys, "print_exception"):
            sys.print_exception(error, file)
        else:  # CPython
            import traceback

            traceback.print_exception(error, file=file)
    print("exception:", repr(error))
