"""Points to Datadog's intake of series, for those who have their dashboards there. Writes only.

Each number of a point is a metric `pinloop.<measurement>.<field>` of type
gauge with the point's tags; text, sample numbers and boot ids stay at home.
Datadog resolves one second, and drops without a word what is older than an
hour or more than ten minutes ahead: after an outage only the last hour is
worth sending, the rest is in the main store.

Source: docs.datadoghq.com/api/latest/metrics/#submit-metrics (v2)
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import urllib3

from store.errors import StoreError
from store.http import Client
from store.points import BOOKKEEPING, Point
from store.retry_after import retry_after_s

__all__ = ["DatadogSink"]

_WHOLE_S, _MOST_ANSWER_BYTES = 10.0, 65536
_GAUGE = 3
# Unpacked 5,242,880 bytes are allowed, packed 512,000: what packs this well is never as large.
_MOST_BYTES = 5_000_000
_MOST_PACKED_BYTES = 500_000


class DatadogSink:
    """Writes to a Datadog site (datadoghq.com, datadoghq.eu, us5.datadoghq.com, ...).

    Args:
        site: its domain, or the URL of something that speaks for it.
    """

    def __init__(self, site: str, api_key: str) -> None:
        base = site.rstrip("/") if "://" in site else f"https://api.{site}"
        self._url = base + "/api/v2/series"
        self._path = urllib3.util.parse_url(self._url).path or ""
        self._client = Client(
            base, {"DD-API-KEY": api_key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
        )

    def write(self, points: Sequence[Point]) -> None:
        """See `Store.write`."""
        series = _series(points)
        if not series:
            return
        body = json.dumps({"series": series}).encode()
        packed = gzip.compress(body, 1)
        if len(body) > _MOST_BYTES or len(packed) > _MOST_PACKED_BYTES:
            raise StoreError(f"{self._url}: {len(body)} bytes are too large", permanent=True, status=413)
        try:
            answer = self._client.post(self._path, whole_s=_WHOLE_S, most_bytes=_MOST_ANSWER_BYTES, body=packed)
        except (urllib3.exceptions.HTTPError, OSError, StoreError) as error:
            raise StoreError(f"{self._url}: {error}") from error
        if answer.status != 202:
            raise StoreError(
                f"{self._url}: {answer.status} {answer.body[:300].decode(errors='replace').strip()}",
                permanent=answer.status in (400, 413),
                status=answer.status,
                retry_after_s=retry_after_s(answer.headers) or _reset_s(answer.headers.get("X-RateLimit-Reset", "")),
            )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _series(points: Sequence[Point]) -> list[dict[str, Any]]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[dict[str, float]]] = defaultdict(list)
    for point in points:
        for field, value in point.fields.items():
            if not isinstance(value, str) and field not in BOOKKEEPING:
                at = {"timestamp": point.ts_ns // 10**9, "value": float(value)}
                found[f"pinloop.{point.measurement}.{field}", point.tags].append(at)
    return [
        {"metric": metric, "type": _GAUGE, "points": values, "tags": [f"{key}:{value}" for key, value in tags]}
        for (metric, tags), values in found.items()
    ]


def _reset_s(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() else 0
