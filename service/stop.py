"""A clean stop: SIGTERM and SIGINT set one event that everything waits on."""

import signal
import threading
from types import FrameType

__all__ = ["stop_on_signals"]


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets; call it on the main thread before other threads start.

    Python as PID 1 of a container ignores SIGTERM without this.
    """
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop
