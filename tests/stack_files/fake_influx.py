"""InfluxDB 2 as setup meets it: buckets and authorizations, without a database behind."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakeInflux(ThreadingHTTPServer):
    """InfluxDB 2's API for buckets and authorizations, as 2.9.1 answers it (docs/stack.md says how that was measured).

    It says a token once and lists it as "" from then on; what is not there is 404, an unknown token 401; a token lists
    the buckets that it may read, an inactive one none.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeInfluxHandler)
        self.has_api = True
        self.version = "v2.9.1"
        self.owners_tokens: set[str] = set()  # of a server without the API
        self.is_set_up = True
        self.admin = ""
        self.buckets = [{"id": "b1", "orgID": "o1", "name": "pinloop"}]
        self.authorizations: dict[str, Any] = {}
        self.made = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], token: str, wish: Any) -> tuple[int, Any]:
        """Return (status, body)."""
        if path == "/ping":
            return 204, None
        if path == "/query" and not self.has_api:
            return (200, {"results": [{}]}) if token in self.owners_tokens else (401, {"error": "authorization failed"})
        if not self.has_api:
            return 404, "404 page not found"
        if path == "/api/v2/setup":
            return 200, {"allowed": not self.is_set_up}
        known = {f"token-{number}": one for number, one in self.authorizations.items()}
        if token not in {self.admin, *known}:
            return 401, {"code": "unauthorized", "message": "unauthorized access"}
        if path == "/api/v2/buckets":
            return self._buckets(query, known.get(token))
        assert token == self.admin
        if method == "GET":
            return 200, {"authorizations": [{**one, "token": ""} for one in self.authorizations.values()]}
        if method == "DELETE":
            del self.authorizations[path.rpartition("/")[2]]
            return 204, None
        self.made += 1
        number = f"a{self.made}"
        self.authorizations[number] = {**wish, "id": number, "status": "active"}
        return 201, {**wish, "id": number, "token": f"token-{number}"}

    def _buckets(self, query: dict[str, list[str]], scoped: Any) -> tuple[int, Any]:
        if query.get("org", ["pinloop"]) != ["pinloop"]:
            return 404, {"code": "not found", "message": f'organization name "{query["org"][0]}" not found'}
        wanted = [one for one in self.buckets if [one["name"]] == query.get("name") or [one["id"]] == query.get("id")]
        if not wanted:
            return 404, {"code": "not found", "message": f'bucket "{query.get("name", [""])[0]}" not found'}
        if scoped is not None:
            may = {one["resource"]["id"] for one in scoped["permissions"] if scoped["status"] == "active"}
            wanted = [one for one in wanted if one["id"] in may]
        return 200, {"buckets": wanted}


class FakeInfluxHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: FakeInflux

    def do_GET(self) -> None:
        """Hand it to the server."""
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        token = self.headers["Authorization"].removeprefix("Token ")
        wish = json.loads(body) if body else None
        status, said = self.server.answer(self.command, parts.path, parse_qs(parts.query), token, wish)
        data = b"" if said is None else json.dumps(said, indent=1).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if self.server.version:
            self.send_header("X-Influxdb-Version", self.server.version)
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""
