"""InfluxDB 2's scoped tokens: one that reads and writes the bucket, one that reads it.

InfluxDB makes the tokens itself, says each once and keeps a hash of it: they have to be asked for with the
operator token after its first start, and written down then.
"""

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

    1. Find the bucket. A server without this API (InfluxDB 1, InfluxDB 3 Core) has no scoped tokens: both are `admin`.
    2. List the tokens that this function made before.
    3. Keep a known one that the server still lists; otherwise delete it there and have a new one made.

    Args:
        url: of the server, `http://influxdb:8086`.
        org, bucket: names.
        admin: the operator token.
        known: the two tokens of an earlier run, "" where there is none.

    Raises:
        StoreTokenError: the server refuses or does not answer.

    Source: InfluxDB OSS 2 API, /api/v2/buckets and /api/v2/authorizations.
    """
    server = _Server(url, admin)
    found = server.ask("GET", "/api/v2/buckets", {"org": org, "name": bucket}, missing={})
    if "buckets" not in found:
        return admin, admin
    if not found["buckets"]:
        raise StoreTokenError(f"{url} has no bucket {bucket!r} in the organization {org!r}")
    bucket_id, org_id = found["buckets"][0]["id"], found["buckets"][0]["orgID"]
    listed = server.ask("GET", "/api/v2/authorizations", {"orgID": org_id})["authorizations"]

    tokens = []
    for (description, actions), token in zip(_SCOPES, known, strict=True):
        ours = [one["id"] for one in listed if one.get("description") == description]
        if not token or not ours:
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
        try:
            answer = self._pool.request(
                method,
                self._url + path + ("?" + urlencode(query) if query else ""),
                body=json.dumps(body) if body is not None else None,
            )
        except urllib3.exceptions.HTTPError as error:
            raise StoreTokenError(f"{self._url} does not answer ({error})") from None
        if answer.status == 404 and missing is not None:
            return missing
        if answer.status >= 300:
            text = answer.data[:300].decode(errors="replace").strip()
            raise StoreTokenError(f"{method} {self._url}{path}: {answer.status} {text}")
        return json.loads(answer.data) if answer.data else None
