"""InfluxDB 2's scoped tokens: one that reads and writes the bucket, one that reads it.

InfluxDB makes the tokens itself, says each once and keeps a hash of it: they have to be asked for with the
operator token after its first start, and written down then.
"""

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import urllib3

__all__ = ["StoreTokenError", "scoped_tokens"]

# Description -> what may be done with the bucket. The description is how a later run finds its own.
_SCOPES = (("pinloop: read and write", ("read", "write")), ("pinloop: read", ("read",)))


class StoreTokenError(Exception):
    """The tokens cannot be had; the message says what the server answered."""


def scoped_tokens(url: str, org: str, bucket: str, admin: str, known: tuple[str, str]) -> tuple[str, str]:
    """Return (token that reads and writes, token that reads) for `bucket`.

    1. A server without this API has no scoped tokens. A known one that it takes (the owner may have put it there) is
       kept; else it is `admin:<admin>` for InfluxDB 1, a user and its password, and `admin` for InfluxDB 3 Core.
    2. Find the bucket, and the tokens that this function made before.
    3. Keep a known one that the server still takes; otherwise delete what it has of that name and have a new one made.

    Args:
        url: of the server, `http://influxdb:8086`.
        org, bucket: names.
        admin: the operator token.
        known: the two tokens of an earlier run, "" where there is none.

    Raises:
        StoreTokenError: the server refuses, does not answer, was never set up, or has no such bucket.

    Source: InfluxDB OSS 2 API, /api/v2/setup, /api/v2/buckets and /api/v2/authorizations; tried with 2.9.1 and 1.8.10.
    """
    server = _Server(url, admin)
    # Only InfluxDB 2 knows this path. Its 404 elsewhere is of a bucket: no reason to hand `admin` out.
    state = server.ask("GET", "/api/v2/setup", missing={})
    if "allowed" not in state:
        every = f"admin:{admin}" if server.version().startswith("1.") else admin
        kept = [token if token and _Server(url, token).queries(bucket) else every for token in known]
        return kept[0], kept[1]
    if state["allowed"]:
        raise StoreTokenError(
            f"{url} was never set up: its first start was cut off; delete its volumes and start again"
        )
    found = server.ask("GET", "/api/v2/buckets", {"org": org, "name": bucket})["buckets"][0]  # none: 404
    bucket_id, org_id = found["id"], found["orgID"]
    listed = server.ask("GET", "/api/v2/authorizations", {"orgID": org_id})["authorizations"]

    tokens = []
    for (description, actions), token in zip(_SCOPES, known, strict=True):
        ours = [one["id"] for one in listed if one.get("description") == description]
        if not (token and ours and _Server(url, token).sees(bucket_id)):
            for one in ours:
                server.ask("DELETE", f"/api/v2/authorizations/{one}")
            resource = {"type": "buckets", "id": bucket_id, "orgID": org_id}
            permissions = [{"action": action, "resource": resource} for action in actions]
            wish = {"orgID": org_id, "description": description, "permissions": permissions}
            token = server.ask("POST", "/api/v2/authorizations", body=wish)["token"]
        tokens.append(token)
    return tokens[0], tokens[1]


class _Server:
    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            headers={"Authorization": f"Token {token}", "Content-Type": "application/json"},
            timeout=10,
            retries=urllib3.Retry(3, backoff_factor=0.5, redirect=0),
        )

    def ask(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None, missing: Any = None
    ) -> Any:
        """Return the decoded answer; `missing` (unless None) when the server knows no such path."""
        status, data = self._request(method, path, query, body)
        if status == 404 and missing is not None:
            return missing
        if status >= 300:
            text = " ".join(data[:300].decode(errors="replace").split())
            with contextlib.suppress(ValueError, AttributeError):
                text = json.loads(data).get("message") or text
            raise StoreTokenError(f"{method} {self._url}{path}: {status} {text}")
        return json.loads(data) if data else None

    def sees(self, bucket_id: str) -> bool:
        """Tell whether the token is known, active, and of this bucket: it lists those that it may read."""
        status, data = self._request("GET", "/api/v2/buckets", {"id": bucket_id})
        return status == 200 and any(one["id"] == bucket_id for one in json.loads(data)["buckets"])

    def queries(self, database: str) -> bool:
        """Tell whether the token may ask InfluxQL of a database."""
        return self._request("GET", "/query", {"db": database, "q": "SHOW MEASUREMENTS"})[0] == 200

    def version(self) -> str:
        """Return what the server says it is, "" when it does not say."""
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return str(self._pool.request("GET", self._url + "/ping").headers.get("X-Influxdb-Version", ""))
        return ""

    def _request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
    ) -> tuple[int, bytes]:
        """Return (status, body)."""
        try:
            answer = self._pool.request(
                method,
                self._url + path + ("?" + urlencode(query) if query else ""),
                body=json.dumps(body) if body is not None else None,
            )
        except urllib3.exceptions.HTTPError as error:
            raise StoreTokenError(f"{self._url} does not answer ({error})") from None
        return answer.status, answer.data
