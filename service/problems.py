"""Problem details: how every service says over HTTP that something went wrong (RFC 9457).

`type` is always about:blank, which by the RFC says that `title` is the status
in words; what a program may branch on is `reason`, a word of a closed list.
"""

import json
from http import HTTPStatus
from typing import Any

__all__ = ["MEDIA_TYPE", "encode", "problem"]

MEDIA_TYPE = "application/problem+json"


def problem(status: int, reason: str, detail: str) -> dict[str, Any]:
    """Return the members of a problem.

    Args:
        status: the HTTP status, 400 or above.
        reason: one word from a closed list, for programs and counters.
        detail: a sentence for people, naming key, value and rule.
    """
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "reason": reason}


def encode(status: int, reason: str, detail: str) -> bytes:
    """Return the same as the body of an answer."""
    return json.dumps(problem(status, reason, detail)).encode() + b"\n"
