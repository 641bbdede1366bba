"""How long to wait before the next attempt: longer each time, with jitter, or as long as the server asks. Pure."""

import random

__all__ = ["Backoff"]

_FIRST_S = 0.1
_LONGEST_S = 5.0
_LONGEST_ASKED_S = 60.0  # by the store's Retry-After


class Backoff:
    """Counts failures in a row."""

    def __init__(self) -> None:
        self._failures = 0

    def next_s(self, asked_s: float = 0) -> float:
        """Note a failure and return the seconds to wait; `asked_s` is what the server asks for, 0 for nothing."""
        ceiling_s = min(_LONGEST_S, _FIRST_S * 2 ** min(self._failures, 10))
        self._failures += 1
        return max(random.uniform(ceiling_s / 2, ceiling_s), min(asked_s, _LONGEST_ASKED_S))  # noqa: S311

    def reset(self) -> None:
        """Note a success."""
        self._failures = 0
