"""A real InfluxDB 1.x for the store's tests, made to look like 2.x where it does not.

Debian's influxd 1.6 has InfluxQL but no /api/v2/write. `_gateway` stands before
it: it checks the token, turns that path into 1.x's /write (bucket -> db), and
passes everything else through. What is stored, refused and queried is influxd's
own doing.
"""

import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import urllib3

from store.influx import InfluxStore
from store.sqlite import SqliteStore
from tests.support.ports import free_port
from tests.support.processes import owned
from tests.support.requirements import need
from tests.support.wait import until

TOKEN = "token-of-this-test"


class Influx:
    """A running influxd and the gateway before it."""

    token = TOKEN

    def __init__(self, server: str, gateway: str) -> None:
        self.server = server
        self.gateway = gateway

    def ask(self, statement: str, db: str = "") -> bytes:
        """Run InfluxQL on influxd itself."""
        return urllib3.request("POST", f"{self.server}/query", fields={"q": statement, "db": db}).data

    def store(self, bucket: str, token: str = TOKEN) -> InfluxStore:
        """Return a store of ours that uses the gateway."""
        return InfluxStore(self.gateway, "pinloop", bucket, token)


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    """An InfluxDB that runs."""
    program = need("influxd", "apt-get install influxdb")
    folder = tmp_path_factory.mktemp("influx")
    port = free_port()
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n[meta]\ndir = "{folder}/meta"\n'
        f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\nquery-log-enabled = false\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
    )
    with owned([program, "-config", config], folder / "influxd.out"), _gateway(port) as gateway:
        server = f"http://127.0.0.1:{port}"
        until(lambda: urllib3.request("GET", f"{server}/ping", retries=False).status == 204, 15, "influxd answers")
        yield Influx(server, gateway)


class _Gateway(WSGIServer):
    def __enter__(self) -> str:  # type: ignore[override]
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.server_port}"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def _gateway(port: int) -> _Gateway:
    pool = urllib3.PoolManager(retries=False)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_AUTHORIZATION") != f"Token {TOKEN}":
            start_response("401 Unauthorized", [("Content-Type", "application/json")])
            return [b'{"code":"unauthorized","message":"unauthorized access"}']
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if path == "/api/v2/write":
            path, query = "/write", "db=" + urllib.parse.parse_qs(query)["bucket"][0]
        headers = {"Content-Type": environ["CONTENT_TYPE"]}
        got = pool.request(environ["REQUEST_METHOD"], f"http://127.0.0.1:{port}{path}?{query}", body, headers=headers)
        start_response(f"{got.status} {got.reason}", [("Content-Type", "application/json")])
        return [got.data]

    return make_server("127.0.0.1", 0, answer, _Gateway, _Quiet)


@pytest.fixture
def bucket(influx: Influx, request: pytest.FixtureRequest) -> str:
    """An empty database of the test's own."""
    name = "".join(char if char.isalnum() else "_" for char in request.node.name)
    influx.ask(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture(params=["sqlite", "influx"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each kind of store, empty."""
    if request.param == "sqlite":
        opened: Any = SqliteStore(tmp_path / "folder" / "store.db")
    else:
        opened = request.getfixturevalue("influx").store(request.getfixturevalue("bucket"))
    yield opened
    opened.close()
