"""The store in InfluxDB: line protocol to /api/v2/write, InfluxQL from /query.

That pair works on InfluxDB 1.8+, 2.x and 3 Core. A refused write may have kept
the good lines (1.x and 3: status 400 "partial write"; 2.x: 422) or nothing
(2.x: 400); writing them again is harmless either way, so the caller bisects
without asking which.

Sources: docs.influxdata.com/influxdb/v2/api (write), .../v1/guides/query_data (InfluxQL over HTTP)
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.util import parse_url

from store.errors import StoreError
from store.http import Answer, Client
from store.lines import lines
from store.points import BOOKKEEPING, READINGS, SENSORS, Point
from store.retry_after import retry_after_s

__all__ = ["InfluxStore"]

_WRITE_S, _MOST_WRITE_BYTES = 10.0, 1 << 20
# The newest samples of a device are some megabytes.
_QUERY_S, _MOST_QUERY_BYTES = 60.0, 256 << 20
# The statuses that say something about the lines. All others (no answer, 401, 403, 404, 429, 5xx) say something about
# the server or our settings: the same lines are good later.
_PERMANENT = (400, 413, 422)
# What each of them answers, and nothing else means that the points are stored: 200 is a proxy's page, "please sign in".
_STORED = 204
# Answers 400 that are not about the lines either: of InfluxDB 2.x without `store_org`, of a proxy in front (a page).
_NOT_THE_LINES = re.compile(r"Please provide either orgID or org$|\s*<")
_DROPPED = re.compile(r"\bdropped=(\d+)\b")  # "partial write: ... dropped=2": 1.x with 400, 2.x with 422


class _Series(msgspec.Struct):
    columns: list[str]
    name: str = ""
    tags: dict[str, str] = {}
    values: list[list[Any]] = []


class _Result(msgspec.Struct):
    series: list[_Series] = []
    error: str = ""


class _Answer(msgspec.Struct):
    """The answer to InfluxQL, as far as it is used here."""

    results: list[_Result]


class InfluxStore:
    """A store in the bucket (InfluxQL: database) `bucket` of the server at `url`."""

    def __init__(self, url: str, org: str, bucket: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._bucket = bucket
        self._path = parse_url(self._url).path or ""
        self._write_to = f"{self._path}/api/v2/write?" + urlencode({"org": org, "bucket": bucket, "precision": "ns"})
        self._client = Client(self._url, {"Authorization": f"Token {token}"} if token else {})

    def write(self, points: Sequence[Point]) -> None:
        """See `Store`."""
        if not points:
            return
        answer = self._ask(self._write_to, _WRITE_S, _MOST_WRITE_BYTES, body=lines(points))
        if answer.status != _STORED:
            raise _error(self._url, answer, answer.status in _PERMANENT)

    def latest(self, device: str) -> dict[str, tuple[float, float]]:
        """See `Store`."""
        known = self._query(f'SHOW FIELD KEYS FROM "{READINGS}"')
        sensors = [str(row[0]) for one in known for row in one.values if row[0] not in BOOKKEEPING]
        # One statement each: `last` of several fields in one statement comes without their times.
        where = f'FROM "{READINGS}" WHERE "device" = {_text(device)}'
        statements = [f"SELECT last({_name(sensor)}) AS {_name(sensor)} {where}" for sensor in sensors]
        found = self._query(";".join(statements)) if statements else []
        # Somebody else may have stored a text under a sensor's name: it is no reading.
        newest = [(one.columns[1], row[1], row[0] / 1e9) for one in found for row in one.values]
        return {sensor: (value, t_s) for sensor, value, t_s in newest if isinstance(value, int | float)}

    def series(
        self, device: str, sensor: str, since_s: float, until_s: float, step_s: float
    ) -> list[tuple[float, float]]:
        """See `Store`."""
        found = self._query(
            f'SELECT mean({_name(sensor)}) FROM "{READINGS}" WHERE "device" = {_text(device)}'  # noqa: S608  (quoted)
            f" AND time >= {math.ceil(since_s * 1e9)} AND time < {math.ceil(until_s * 1e9)}"
            f" GROUP BY time({max(1, round(step_s * 1e9))}ns) fill(none)"
        )
        return [(row[0] / 1e9, row[1]) for one in found for row in one.values]

    def devices(self) -> list[str]:
        """See `Store`."""
        found = self._query('SHOW TAG VALUES WITH KEY = "device"')
        return sorted({str(row[1]) for one in found for row in one.values})

    def identities(self, most_per_device: int) -> Iterator[tuple[str, str, int, str]]:
        """See `Store`."""
        # A question for each device: one answer for all of a fleet would be hundreds of megabytes.
        known = self._query(f'SHOW TAG VALUES FROM "{READINGS}" WITH KEY = "device"')
        for device in [str(row[1]) for one in known for row in one.values]:
            where = f'WHERE "device" = {_text(device)} AND "n" >= 0 ORDER BY time DESC LIMIT {int(most_per_device)}'
            for one in self._query(f'SELECT {self._columns(device)} FROM "{READINGS}" {where}'):  # noqa: S608  (quoted)
                for values in one.values:
                    fields = {name: value for name, value in zip(one.columns, values, strict=True) if value is not None}
                    if "n" in fields and fields.get("boot"):
                        sensors = ",".join(sorted(fields.keys() - {"time", "device", *BOOKKEEPING}))
                        yield device, fields["boot"], int(fields["n"]), sensors

    def _columns(self, device: str) -> str:
        """Return the fields that a device has, if that is known: `*` is a null a row for each sensor of all others."""
        known = self._query(f'SHOW TAG VALUES FROM "{SENSORS}" WITH KEY = "sensor" WHERE "device" = {_text(device)}')
        sensors = [str(row[1]) for one in known for row in one.values]
        return ", ".join(map(_name, (*BOOKKEEPING, *sensors))) if sensors else "*"

    def close(self) -> None:
        """See `Store`."""
        self._client.close()

    def _ask(self, path: str, whole_s: float, most_bytes: int, **request: Any) -> Answer:
        try:
            return self._client.post(path, whole_s=whole_s, most_bytes=most_bytes, **request)
        except (urllib3.exceptions.HTTPError, OSError, StoreError) as error:
            raise StoreError(f"{self._url}: {error}") from error

    def _query(self, statements: str) -> list[_Series]:
        """Return the series of all statements, in order."""
        fields = {"db": self._bucket, "q": statements, "epoch": "ns"}
        answer = self._ask(f"{self._path}/query", _QUERY_S, _MOST_QUERY_BYTES, fields=fields, encode_multipart=False)
        if answer.status != 200:
            raise _error(self._url, answer)
        try:
            results = msgspec.json.decode(answer.body, type=_Answer).results
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise StoreError(f"{self._url}/query: the answer is not InfluxQL's: {answer.body[:80]!r}") from None
        for result in results:
            if result.error:
                raise StoreError(f"{self._url}/query: {result.error}", status=200)
        # VictoriaMetrics, which takes writes only, answers every question with the list of its databases.
        return [one for result in results for one in result.series if one.name != "databases"]


def _error(url: str, answer: Answer, permanent: bool = False) -> StoreError:
    status = answer.status
    text = answer.body.decode(errors="replace")
    try:
        text = _message(json.loads(text)) or text
    except ValueError:
        pass
    dropped = _DROPPED.findall(text)[-1:]  # a line that is quoted before it may say anything
    return StoreError(
        f"{url}: {status} {text.strip()[:300]}",
        permanent=permanent and (status == 413 or not _NOT_THE_LINES.match(text)),
        status=status,
        retry_after_s=retry_after_s(answer.headers),
        dropped=int(dropped[0]) if dropped else 0,
    )


def _message(answer: Any) -> str:
    """Return what an answer in JSON says: 2.x `message`, 1.x and 3 Core `error`, the latter with the lines' own."""
    if not isinstance(answer, dict):
        return ""
    text = str(answer.get("message") or answer.get("error") or "")
    bad = answer.get("data")
    if isinstance(bad, list) and bad and isinstance(bad[0], dict):
        text += f": {bad[0].get('error_message', '')}"
    return text


def _name(text: str) -> str:
    """Return an InfluxQL identifier."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _text(text: str) -> str:
    """Return an InfluxQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
