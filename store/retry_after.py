"""What a server answers to "when may I come again?".

Source: RFC 9110, section 10.2.3 (Retry-After)
"""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_s"]


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that `Retry-After` asks for, as a number or as a date; 0 when it says nothing usable."""
    text = headers.get("Retry-After") or ""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, IndexError, OverflowError):
        return 0
