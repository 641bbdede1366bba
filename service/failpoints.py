"""Places where a test lets the process die: `PINLOOP_CRASH_AT=NAME` kills it there, as a power cut would.

Without the variable a failpoint costs one comparison.
"""

import os
import signal

__all__ = ["crash_at"]

_ARMED = os.environ.get("PINLOOP_CRASH_AT", "")


def crash_at(name: str) -> None:
    """Die here (SIGKILL) when the failpoint of this name is armed."""
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
