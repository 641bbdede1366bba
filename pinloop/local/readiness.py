"""What a part says of itself: its /readyz, in words for people."""

import json
import urllib.error
import urllib.request

__all__ = ["why_not_ready"]

_TIMEOUT_S = 1.0
_LONGEST = 160  # characters: some lines of a terminal


def why_not_ready(url: str) -> str | None:
    """Return None when a part is ready, else what it says it lacks.

    Args:
        url: its /readyz.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):  # noqa: S310  (our own loopback address)
            return None
    except urllib.error.HTTPError as error:
        return _problems(error.read().decode(errors="replace"))[:_LONGEST] or f"answers {error.code}"
    except (OSError, ValueError) as error:
        return str(error)[:_LONGEST]


def _problems(text: str) -> str:
    """Return "broker: not connected; store: ..." of the answer of `service.health`; the text itself of another's."""
    try:
        return "; ".join(f"{check}: {problem}" for check, problem in json.loads(text)["problems"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return text.strip()
