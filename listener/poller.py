"""Asks devices over HTTP at their intervals: one request per device at a time, a bounded number of threads.

A device that is dead costs its time-out in one of the threads, and is asked less often until it answers.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import Counter

from listener.fetch import FetchError, fetch
from listener.handover import Handover
from listener.polling import Target, chunks
from service import logs

__all__ = ["Poller"]

_MOST_THREADS = 16
# After that many failures in a row a device is asked each (this times its interval).
_LONGEST_COOL_DOWN = 8
_SAFE_S = 30.0

POLLS = Counter("listener_polls_total", "Requests to devices by outcome: stored, failed, unsafe (not stored in time).",
                ["outcome"])  # fmt: skip


class Poller:
    """Asks `targets` and hands their answers over.

    Args:
        get: (url, most bytes) -> body, or FetchError.
    """

    def __init__(self, targets: Sequence[Target], handover: Handover, get: Callable[[str, int], bytes] = fetch) -> None:
        self._targets = targets
        self._handover = handover
        self._get = get
        self._failures = dict.fromkeys((target.url for target in targets), 0)
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._order = itertools.count()
        # (when, tie-break, target); a target that is being asked is not in it, so it is asked once at a time
        self._due: list[tuple[float, int, Target]] = []
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, max(1, len(targets))), "poll")
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._log = logs.get("poller")

    def start(self) -> None:
        """Begin; the first requests are spread over a second."""
        if not self._targets:
            return
        now_s = time.monotonic()
        for number, target in enumerate(self._targets):
            self._push(now_s + number / len(self._targets), target)
        self._thread.start()

    def stop(self) -> None:
        """End; who is being asked may take some seconds more, nobody waits for it."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def ask(self, target: Target) -> bool:
        """Ask a device once and wait until its answer is safe; return whether it answered."""
        try:
            body = self._get(target.url, target.most_bytes)
        except FetchError as error:
            self._failed(target, str(error))
            return False
        if self._failures[target.url]:
            self._log.info("device answers again", device=target.name)
        self._failures[target.url] = 0
        for message, note in chunks(target, body):
            handed = self._handover.put(target.topic, message, _SAFE_S)
            if handed is None or not handed.safe.wait(_SAFE_S):
                POLLS.labels("unsafe").inc()  # a log's lines come again, and are recognised
                return True
            note()
        POLLS.labels("stored").inc()
        return True

    def _failed(self, target: Target, why: str) -> None:
        POLLS.labels("failed").inc()
        self._failures[target.url] += 1
        if self._failures[target.url] == 1:
            self._log.warning("device does not answer", device=target.name, why=why)
            if target.says_offline:
                self._handover.put(target.topic, b"")

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                target = heapq.heappop(self._due)[2]
            try:
                self._pool.submit(self._turn, target)
            except RuntimeError:  # it was shut down just now
                return

    def _turn(self, target: Target) -> None:
        begun_s = time.monotonic()
        try:
            answered = self.ask(target)
        except Exception:  # noqa: BLE001  (a bug that one device shows must not stop the others)
            self._log.exception("poll failed", device=target.name)
            answered = False
        factor = 1 if answered else min(2 ** min(self._failures[target.url], 10), _LONGEST_COOL_DOWN)
        self._push(max(time.monotonic(), begun_s + target.every_s * factor), target)

    def _push(self, at_s: float, target: Target) -> None:
        with self._changed:
            heapq.heappush(self._due, (at_s, next(self._order), target))
            self._changed.notify_all()
