"""Together: what several requests want of the database at the same time goes into one transaction.

A commit waits for the disk. While one is under way, the requests that come
wait for their turn; the first of them then takes all that wait with it, so that
the disk is asked once for all. Nobody waits for others to come: a request alone
is carried out at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Together"]

A = TypeVar("A")
R = TypeVar("R")


class _Waiting(Generic[A, R]):
    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.done = False
        self.result: R | None = None
        self.error: Exception | None = None


class Together(Generic[A, R]):
    """Carries out what several threads ask for, in the order in which they asked.

    Args:
        carry_out: takes what is asked for and returns a result for each, or raises, and then nothing was done. Called
            on the thread of one of those who ask, never twice at the same time.
    """

    def __init__(self, carry_out: Callable[[Sequence[A]], Sequence[R]]) -> None:
        self._carry_out = carry_out
        self._waiting: deque[_Waiting[A, R]] = deque()
        self._turn = threading.Lock()

    def ask(self, asked: A) -> R:
        """Return the result for `asked`.

        Raises:
            Exception: what `carry_out` raised for it; what was asked for together and failed is tried one by one.
        """
        mine: _Waiting[A, R] = _Waiting(asked)
        self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._serve([self._waiting.popleft() for _ in range(len(self._waiting))])
        if mine.error is not None:
            raise mine.error
        assert mine.result is not None  # noqa: S101  (for the type checker: results are never None)
        return mine.result

    def _serve(self, waiting: list[_Waiting[A, R]]) -> None:
        try:
            results = self._carry_out([one.asked for one in waiting])
        except Exception as error:  # noqa: BLE001  (handed to who asked)
            if len(waiting) > 1:
                for one in waiting:
                    self._serve([one])
                return
            waiting[0].error = error
        else:
            for one, result in zip(waiting, results, strict=True):
                one.result = result
        for one in waiting:
            one.done = True
