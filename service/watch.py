"""The thread that follows an edited file: looks at it every second, and at once on SIGHUP."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

from service import logs

__all__ = ["Watch"]

_LOOK_S = 1.0


class Watch:
    """Calls `look` every second, and `reload` in place of it when SIGHUP came.

    Args:
        name: of the thread and of its log.
        look: loads the file again when it is worth it.
        reload: loads it in any case.
    """

    def __init__(self, name: str, look: Callable[[], object], reload: Callable[[], object]) -> None:
        self._look = look
        self._reload = reload
        self._log = logs.get(name)
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; called on the main thread, which alone may ask for signals."""
        before = signal.getsignal(signal.SIGHUP)

        def hang_up(number: int, frame: FrameType | None) -> None:
            self._wanted.set()
            if callable(before):  # another file of this service may be waiting for the same signal
                before(number, frame)

        signal.signal(signal.SIGHUP, hang_up)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._wanted.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping:
            asked = self._wanted.wait(_LOOK_S)
            self._wanted.clear()
            if self._stopping:
                return
            try:
                self._reload() if asked else self._look()
            except Exception:  # noqa: BLE001  (whatever may be raised: the next look must come)
                self._log.exception("the file could not be followed")
