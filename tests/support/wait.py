"""Waiting for something to become true, with a deadline: the only way in which tests wait."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(probe: Callable[[], T], timeout_s: float = 5, what: str = "", every_s: float = 0.005) -> T:
    """Return the first true value of `probe`; fail after `timeout_s` seconds saying what did not come.

    An exception of `probe` counts as "not yet" and is shown when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    last: object = None
    while True:
        try:
            value = probe()
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001  (a server that is still starting refuses, resets, answers 503...)
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come within {timeout_s} s: {what or probe}; last seen: {last!r}")
        time.sleep(every_s)
