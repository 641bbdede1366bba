"""Together: what several requests want of the database at the same time goes into one transaction.

A commit waits for the disk. While one is under way, the requests that come
wait; the first of them then takes all that wait with it, so that the disk is
asked once for all. Nobody waits for others to come: a request alone is carried
out at once. Each waits once, on a lock of its own: threads that queue up for
one lock cost more than what they wait for.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Together"]

A = TypeVar("A")
R = TypeVar("R")


class _Waiting(Generic[A, R]):
    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.result: R | None = None
        self.error: Exception | None = None
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()


class Together(Generic[A, R]):
    """Carries out what several threads ask for, in the order in which they asked.

    Args:
        carry_out: takes what is asked for and returns a result for each, or raises, and then nothing was done. Called
            on the thread of one of those who ask, never twice at the same time.
        finish: called with such results before they are handed out, while the next ones are carried out already.
        common: tells whether an error is nobody's own, so that trying them one by one would only take longer.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[A]], Sequence[R]],
        finish: Callable[[Sequence[R]], object] = lambda _results: None,
        common: Callable[[Exception], bool] = lambda _error: False,
    ) -> None:
        self._carry_out = carry_out
        self._common = common
        self._finish = finish
        self._waiting: list[_Waiting[A, R]] = []
        self._led = False  # somebody carries out, or has been told to
        self._door = threading.Lock()  # held for a moment, around the two above

    def ask(self, asked: A) -> R:
        """Return the result for `asked`.

        Raises:
            Exception: what `carry_out` raised for it; what was asked for together and failed is tried one by one,
                unless that would fail as well.
        """
        mine: _Waiting[A, R] = _Waiting(asked)
        with self._door:
            self._waiting.append(mine)
            if not self._led:
                self._led = mine.leads = True
        if not mine.leads:
            mine.woken.acquire()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        assert mine.result is not None  # noqa: S101  (for the type checker: results are never None)
        return mine.result

    def _lead(self) -> None:
        """Serve all who wait now, the caller first, and let the first of those who come meanwhile lead."""
        with self._door:
            served, self._waiting = self._waiting, []
        try:
            self._serve(served)
        finally:
            self._hand_on()
        try:
            self._finish([one.result for one in served if one.result is not None])
        finally:
            for one in served[1:]:
                one.woken.release()

    def _hand_on(self) -> None:
        with self._door:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].leads = True
                self._waiting[0].woken.release()

    def _serve(self, waiting: list[_Waiting[A, R]]) -> None:
        try:
            results = self._carry_out([one.asked for one in waiting])
        except Exception as error:  # noqa: BLE001  (handed to who asked)
            if len(waiting) > 1 and not self._common(error):
                for one in waiting:
                    self._serve([one])
                return
            for one in waiting:
                one.error = error
        else:
            for one, result in zip(waiting, results, strict=True):
                one.result = result
