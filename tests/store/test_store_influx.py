"""How InfluxDB's refusals are told apart, against influxd itself and, for answers it never gives, a canned server."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from store import StoreSettings, open_store
from store.errors import StoreError
from store.http import Answer
from store.influx import InfluxStore
from store.points import Point
from tests.support.ports import free_port

POT = (("device", "pot"),)
GOOD = Point("readings", POT, {"pot": 1}, 1763690000 * 10**9)


def test_a_type_conflict_is_permanent_and_the_good_lines_are_kept(influx: Any, bucket: str) -> None:
    """InfluxDB 1.x answers 400 "partial write": the caller may write the good ones again without harm."""
    store = influx.store(bucket)
    store.write([GOOD])
    with pytest.raises(StoreError, match="partial write") as caught:
        store.write(
            [
                Point("readings", POT, {"pot": "text"}, GOOD.ts_ns + 5),
                Point("readings", POT, {"other": 2}, GOOD.ts_ns + 6),
            ]
        )
    assert (caught.value.permanent, caught.value.status) == (True, 400)
    assert set(store.latest("pot")) == {"pot", "other"}


def test_a_text_that_somebody_stored_is_no_reading(influx: Any, bucket: str) -> None:
    """The other sensors of that device are told all the same."""
    store = influx.store(bucket)
    store.write([Point("readings", POT, {"pot": "text", "other": 2}, GOOD.ts_ns)])

    assert store.latest("pot") == {"other": (2.0, GOOD.ts_ns / 1e9)}


def test_refused_credentials_are_transient(influx: Any, bucket: str) -> None:
    """Points wait until the operator has mended the token."""
    store = influx.store(bucket, token="wrong")
    with pytest.raises(StoreError, match="unauthorized") as caught:
        store.write([GOOD])
    assert (caught.value.permanent, caught.value.status) == (False, 401)
    with pytest.raises(StoreError, match="401"):
        store.devices()


def test_an_unknown_bucket_is_transient(influx: Any) -> None:
    """It may be made while the points wait."""
    store = influx.store("nowhere")
    with pytest.raises(StoreError, match="nowhere") as caught:
        store.write([GOOD])
    assert (caught.value.permanent, caught.value.status) == (False, 404)
    with pytest.raises(StoreError, match="nowhere") as caught:
        store.devices()
    assert not caught.value.permanent


def test_a_server_that_is_away_is_transient() -> None:
    """For writes and for reads."""
    store = InfluxStore(f"http://127.0.0.1:{free_port()}", "o", "b", "t")
    for call in (lambda: store.write([GOOD]), store.devices):
        with pytest.raises(StoreError) as caught:
            call()
        assert (caught.value.permanent, caught.value.status) == (False, 0)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[Callable[..., InfluxStore]]:
    """Return `answering(status, body, headers)`: a store whose server always says that."""
    servers = []

    def start(status: str, body: bytes = b"", headers: list[tuple[str, str]] | None = None) -> InfluxStore:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(status, headers or [])
            return [body]

        server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return InfluxStore(f"http://127.0.0.1:{server.server_port}", "o", "b", "t")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        ("400 Bad Request", True),
        ("413 Request Entity Too Large", True),
        ("422 Unprocessable Entity", True),
        ("403 Forbidden", False),
        ("429 Too Many Requests", False),
        ("500 Internal Server Error", False),
        ("503 Service Unavailable", False),
    ],
)
def test_the_status_tells_permanent_from_transient(
    answering: Callable[..., InfluxStore], status: str, permanent: bool
) -> None:
    """What speaks of the lines is permanent; what speaks of the server is not."""
    body = b'{"code":"x","message":"because of this"}'
    with pytest.raises(StoreError, match="because of this") as caught:
        answering(status, body, [("Retry-After", "7")]).write([GOOD])
    error = caught.value
    assert (error.permanent, error.status, error.retry_after_s) == (permanent, int(status[:3]), 7)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":"invalid","message":"Please provide either orgID or org"}',
        b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
    ],
)
def test_a_400_that_is_not_about_the_lines_is_transient(answering: Callable[..., InfluxStore], body: bytes) -> None:
    """No organisation in the settings, a proxy at the address: Telegraf drops them all, here they wait."""
    with pytest.raises(StoreError, match="either orgID or org|plain HTTP") as caught:
        answering("400 Bad Request", body).write([GOOD])
    assert not caught.value.permanent


def test_a_proxys_413_is_about_the_lines(answering: Callable[..., InfluxStore]) -> None:
    """Its limit is smaller than the store's: halved, they pass."""
    with pytest.raises(StoreError) as caught:
        answering("413 Request Entity Too Large", b"<html>").write([GOOD])
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("message", "dropped"),
    [
        ("partial write: points beyond retention policy dropped=7", 7),
        ("failure writing points to database: partial write: field type conflict dropped=2 for database: x", 2),
        ("partial write: unable to parse 'actuations source=\\\"dropped=9\\\"': invalid number dropped=0", 0),
        ("unable to parse 'x'", 0),
    ],
)
def test_the_number_of_refused_points_is_the_stores_own(
    answering: Callable[..., InfluxStore], message: str, dropped: int
) -> None:
    """And not that of a line which it quotes: all would be thought bad."""
    with pytest.raises(StoreError) as caught:
        answering("400 Bad Request", b'{"error":"%b"}' % message.encode()).write([GOOD])
    assert caught.value.dropped == dropped


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"results":1}', b'{"results":[1]}', b"\xff"])
def test_an_answer_that_is_no_influxql_is_an_error_not_a_crash(
    answering: Callable[..., InfluxStore], body: bytes
) -> None:
    """A proxy's login page, for example."""
    with pytest.raises(StoreError, match="not InfluxQL"):
        answering("200 OK", body).devices()


def test_only_what_a_device_has_is_asked_for(influx: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`*` would be a null a row for each sensor of all others: with thousands of those the question never ended."""
    store = influx.store(bucket)
    numbered: dict[str, float | str] = {"pot": 1.0, "light": 2.0, "n": 1, "boot": "k3f9"}
    other = {f"other_{number}": 1.0 for number in range(100)}
    store.write(
        [
            Point("readings", (("device", "pot"),), numbered, GOOD.ts_ns),
            Point("readings", (("device", "pot"),), {"pot": 1.0}, GOOD.ts_ns + 1),
            *(
                Point("sensors", (("device", "pot"), ("sensor", name)), {"seen": 1.0}, GOOD.ts_ns)
                for name in ("light", "pot")
            ),
            Point("readings", (("device", "plug"),), other, GOOD.ts_ns),
        ]
    )
    answers: list[Answer] = []
    post = store._client.post

    def noted(*args: Any, **options: Any) -> Answer:
        answers.append(post(*args, **options))
        return answers[-1]

    monkeypatch.setattr(store._client, "post", noted)
    assert list(store.identities(10)) == [("pot", "k3f9", 1, "light,pot")]
    assert not any(b"other_" in answer.body for answer in answers)


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    """It was never sent, and stood in /readyz and in the log."""
    with pytest.raises(StoreError, match="store_token") as caught:
        open_store(StoreSettings(store_url="http://ana:secret@influx:8086"))
    assert "secret" not in str(caught.value)
