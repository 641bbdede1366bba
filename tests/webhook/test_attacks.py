"""What a hostile network sends: no request makes the webhook answer 500, and none keeps a valid one waiting."""

import base64
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from service.signing import sign
from tests.support.broker import Client
from tests.support.wait import until
from tests.webhook.conftest import PASSWORDS
from webhook.access.signature import HEADERS

KEY = "0123456789abcdef"
STAMP = "X-Grafana-Alerting-Timestamp"
ALERT = {"status": "firing", "startsAt": "2026-01-01T00:00:00Z", "labels": {"actuate": "lights/red=1"}}
PROBLEM = "application/problem+json"


def credentials(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()


def raw(port: int, request: bytes, wait_s: float = 5) -> bytes:
    """Send bytes and return all that is answered until the server closes, or nothing more comes."""
    with socket.create_connection(("127.0.0.1", port), wait_s) as connection:
        answer = b""
        with contextlib.suppress(OSError):  # it may close before it has read everything
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                answer += part
        return answer


def ask(port: int, line: str, user: str = "operator", body: bytes = b"", more: str = "") -> tuple[int, str, bytes]:
    """Send a request line as it is; return status, content type and body of the answer."""
    head = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{more}"
    head += f"Authorization: {credentials(user)}\r\n" if user else ""
    answer = raw(port, head.encode("latin-1") + b"\r\n" + body)
    top, _, rest = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in top.split(b"\r\n")[1:])
    return int(top.split()[1]), fields.get(b"Content-Type", b"").decode(), rest


_LINES = [
    *(
        "GET /pins/",
        "GET /pins//red",
        "GET /../pins",
        "GET /pins/%2e%2e/claims",
        "GET /PINS",
        "GET /.",
        "GET ///",
        "GET *",
    ),
    *(
        "GET /pins/lights/red%00",
        "GET /pins/%00/red",
        "GET /pins/lights%2fred",
        "GET /pins/lights/red/why/",
    ),
    *("GET /alert/../pins", "GET /%2e%2e/%2e%2e/etc/passwd", "GET /pins/%ff%fe/red", "GET http://elsewhere/pins/"),
    *("GET /pins/" + "a" * 8000 + "/b", "GET /pins/a/" + "%41" * 2000, "GET /pins;x=1", "GET /pins/lights/red?"),
    *("PUT /pins/$SYS/x", "PUT /pins/+/%23", "POST /pins", "PATCH /pins/a/b", "TRACE /pins", "OPTIONS /pins"),
    *("OPTIONS *", "CONNECT x:1", "BREW /pot", "HEAD /nothing", "POST /healthz", "DELETE /metrics", "GET /healthz/"),
    *("POST /openapi.json", "GET /openapi.json/"),
]


def test_paths_and_methods_that_do_not_exist_are_problems(webhook: Any):
    """404, 405 or 400; nobody is redirected, nothing is served, and who has no credentials learns no more."""
    until(lambda: webhook.call("GET", "/pins/lights/red")[0] == 404, 5, "the broker has been heard")
    for line in _LINES:
        status, kind, body = ask(webhook.port, line)
        assert (status in (400, 404, 405, 501), kind) == (True, PROBLEM), (line, status, kind, body)
        assert line.startswith("HEAD") or json.loads(body)["status"] == status, line
        assert ask(webhook.port, line, user="")[0] in (400, 401, 404, 405, 501), line
    for line in ("GET //pins", "GET pins"):  # the same as /pins, for the guard too
        assert ask(webhook.port, line, user="")[0] == 401


def nested(depth: int) -> bytes:
    return b'{"alerts":' + b"[" * depth + b"]" * depth + b"}"


_BODIES: list[tuple[bytes, int]] = [
    (b" " * (10 << 20), 413),
    (nested(100_000), 400),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    (b'\xff\xfe{"alerts":[]}', 400),
    (b'{"alerts":[{"status":"firing","startsAt":"2026-01-01T00:00:00Z","labels":{"a":"\xff"}}]}', 200),
    (b'{"alerts":[{"status":"firing","startsAt":"2026-01-01T00:00:00Z","labels":{"a":"\\ud800"}}]}', 400),
    (
        b'{"alerts":[{"status":"firing","startsAt":"9999-99-99"},{"status":"firing","startsAt":"0001-01-01T00:00:00Z"}]}',
        200,
    ),
    (b'{"alerts":[null,1,[],{},"x",{"status":1}]}', 200),
    (b'{"alerts":[],"truncatedAlerts":-1}', 200),
    (b'{"alerts":[],"truncatedAlerts":' + b"9" * 4000 + b"}", 200),
    (b'{"alerts":[],"truncatedAlerts":' + b"9" * 300 + b"}", 200),
    (b'{"alerts":[],"version":' + b"1" * 400 + b"}", 200),
    (b'{"alerts":NaN}', 400),
    (b'{"state":"alerting","ruleId":1e400}', 400),
    (b'{"state":"alerting","ruleName":"\\u0000","tags":{"actuate":"../#=1"}}', 200),
    (json.dumps({"alerts": [ALERT] * 20_001}).encode(), 413),
    (b"\0" * 1000, 400),
]


def test_bodies_of_any_kind_are_answered(webhook: Any):
    """10 MB, deep, not UTF-8, numbers without end: 4xx, or 200 and ignored."""
    for number, (body, status) in enumerate(_BODIES):
        answered, kind, text = ask(webhook.port, "POST /alert", "alerts", body)
        assert answered == status, (number, body[:60], answered, text[:300])
        assert kind == ("application/json" if status == 200 else PROBLEM)
    endless = b"POST /alert HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * (20 << 20)
    assert raw(webhook.port, endless)[:12] in (b"HTTP/1.1 413", b"")  # it closes without reading on
    assert webhook.call("GET", "/claims")[1]["claims"] == []
    until(lambda: webhook.call("GET", "/pins/lights/red")[0] == 404, 10, "the broker was heard out")
    for body in (b"", b"{}", b"[]", b'{"value":NaN}', b'{"value":1e999}', b'{"value":true}', nested(100_000), b"\xff"):
        assert ask(webhook.port, "PUT /pins/lights/red", "operator", body)[0] in (400, 404), body[:40]


_WORDS = [
    *(b"GET", b"POST", b"PUT", b"/alert", b"/pins/lights/red", b"/openapi.json", b"HTTP/1.1", b"HTTP/9.9", b" ", b"%"),
    *(b"\r\n", b"\n", b"\r\n\r\n", b"\0", b"{}", b"5", b"-1", b"Host: x", b"Content-Length: ", b"Expect: 100-continue"),
    *(b"Transfer-Encoding: chunked", b"Authorization: ", b"Basic ", b"Bearer plt_"),
    *(credentials(user).encode() for user in PASSWORDS),
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(some.lists(some.sampled_from(_WORDS) | some.binary(max_size=20), max_size=25).map(b"".join))
def fuzz(port: int, request: bytes) -> None:
    for answer in raw(port, request).split(b"HTTP/1."):
        assert answer[2:5] != b"500", (request, answer)


def test_no_bytes_on_the_socket_make_it_answer_500(webhook: Any):
    """Words of HTTP in any order, and noise between them."""
    fuzz(webhook.port)
    assert webhook.alert("after", "lights/red=1")["published"] == 1
    assert "Traceback" not in webhook.process.text()


_KEYS = ["alerts", "version", "status", "labels", "startsAt", "state", "tags", "ruleId", "annotations", "actuate", "x"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    some.recursive(
        some.none() | some.booleans() | some.floats() | some.integers() | some.text(max_size=10),
        lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.sampled_from(_KEYS), inner, max_size=6),
        max_leaves=25,
    )
)
def fuzz_json(post: Callable[[bytes], int], body: object) -> None:
    assert post(json.dumps(body).encode()) in (200, 400)


def test_no_json_makes_it_answer_500(webhook: Any):
    """Any value under the senders' own keys."""
    connection = http.client.HTTPConnection("127.0.0.1", webhook.port, timeout=10)

    def post(body: bytes) -> int:
        connection.request("POST", "/alert", body, {"Authorization": credentials("alerts")})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    fuzz_json(post)
    connection.close()


def signed(body: bytes, seconds: int, key: str = KEY) -> dict[str, str]:
    return {HEADERS[0]: sign(key.encode(), str(seconds), body).hex(), STAMP: str(seconds)}


def test_signatures_that_are_wrong_old_or_used_are_refused_also_after_a_restart(
    make_webhook: Callable[..., Any], client: Client
):
    """Asked of a process with `alert_auth: hmac`; what is right switches the pin."""
    webhook = make_webhook(alert_auth="hmac", hmac_key=KEY).start()
    commands = client.collect("pinloop/lights/pin/red/set")
    body, now_s = json.dumps({"version": "4", "alerts": [ALERT]}).encode(), int(time.time())

    def post(headers: dict[str, str], text: bytes = body) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", webhook.port, timeout=10)
        connection.request("POST", "/alert", text, headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return "ok" if answer.status == 200 else found["reason"]

    right = signed(body, now_s)
    refused = [
        ({}, "signature"),
        ({"Authorization": credentials("alerts")}, "signature"),
        (signed(body, now_s, "another-key-0123"), "signature"),
        (signed(body + b" ", now_s), "signature"),
        (signed(body, now_s - 400), "timestamp"),
        (signed(body, now_s + 400), "timestamp"),
        ({HEADERS[0]: right[HEADERS[0]]}, "timestamp"),
    ]
    assert [post(headers) for headers, _ in refused] == [reason for _, reason in refused]
    assert len(commands) == 0
    assert post(right) == "ok"
    assert commands.until(lambda m: m.payload)
    assert post(right) == "replay"
    webhook.kill()
    webhook.start()
    assert post(right) == "replay"
    assert post(signed(body, now_s + 1)) == "ok"
    assert webhook.metric('webhook_rejected_total{reason="replay"}') == 1


@pytest.fixture
def slow_clients(webhook: Any) -> Iterator[list[socket.socket]]:
    """A thousand connections: half of them stop within the headers, half within the body."""
    head = f"POST /alert HTTP/1.1\r\nHost: x\r\nAuthorization: {credentials('alerts')}\r\nContent-".encode()
    halves = [head, head + b"Length: 1000\r\n\r\n{"]
    made = []
    for number in range(1000):
        made.append(socket.create_connection(("127.0.0.1", webhook.port), 5))
        made[-1].sendall(halves[number % 2])
    yield made
    for one in made:
        one.close()


@pytest.mark.long
def test_a_thousand_slow_clients_do_not_hold_up_valid_alerts(webhook: Any, slow_clients: list[socket.socket]):
    """p99 of 500 posts, each on its own connection as Grafana makes them, is below 100 ms."""
    found = []
    for _ in range(3):  # a machine that is busy with something else may spoil a round
        took_ms = []
        for number in range(500):
            began_s = time.perf_counter()
            webhook.alert("too-bright", "lights/red=1", episode=number % 60)
            took_ms.append((time.perf_counter() - began_s) * 1000)
            if number % 100 == 0:  # they live: a byte each now and then
                for one in slow_clients:
                    with contextlib.suppress(OSError):
                        one.send(b" ")
        took_ms.sort()
        found.append(took_ms[494])
        print(f"p50 {took_ms[249]:.1f} ms, p99 {took_ms[494]:.1f} ms, longest {took_ms[-1]:.1f} ms")
        if found[-1] < 100:
            return
    raise AssertionError(f"p99 of three rounds, in ms: {found}")


def test_tokens_work_and_end_without_a_restart(make_webhook: Callable[..., Any], client: Client, tmp_path: Path):
    """Made and revoked by the command beside the running webhook; what they do carries their name."""
    from click.testing import CliRunner

    from pinloop.cli import main

    path = tmp_path / "tokens.json"
    webhook = make_webhook(tokens_path=path).start()

    def token(*words: str) -> str:
        result = CliRunner().invoke(main, ["token", *words, "--file", str(path)])
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def ask(given: str, method: str, query: str = "", body: str | None = None) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", webhook.port, timeout=10)
        connection.request(method, "/pins/lights/red" + query, body, {"Authorization": f"Bearer {given}"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return answer.status, found

    def put(given: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return ask(given, "PUT", body=json.dumps(body))

    def released(given: str, query: str = "") -> str:
        """Release the pin; return what the log says of it."""
        assert ask(given, "DELETE", query)[0] == 200
        return str(webhook.call("GET", "/changes")[1]["changes"][-1]["reason"])

    client.publish("pinloop/lights/info", json.dumps({"fw": "test", "pins": {"red": {"safe": 0}}}), retain=True)
    until(lambda: webhook.call("GET", "/pins/lights/red")[0] == 200)
    phone, screen = token("create", "phone", "--scope", "actuate"), token("create", "screen")
    assert put(screen, {"value": 1})[0] == 403
    assert put(phone, {"value": 1})[1]["desired"]["source"] == "phone"
    assert put(phone, {"value": 1, "by": "ana"})[1]["desired"]["source"] == "ana via phone"
    assert released(phone) == "manual claim withdrawn by phone"
    why = webhook.call("GET", "/pins/lights/red/why")[1]["text"]
    assert why.startswith("released for 0 s (manual claim withdrawn by phone): no claim")
    put(phone, {"value": 1})
    assert released(phone, "?by=ana") == "manual claim withdrawn by ana via phone"
    assert ask(phone, "DELETE", "?by=" + "x" * 114)[0] == 400
    assert ask(screen, "DELETE")[0] == 403
    assert put(phone, {"value": 1, "by": "x" * 110})[1]["desired"]["source"] == "x" * 103 + " via phone"
    assert webhook.call("PUT", "/pins/lights/red", {"value": 0, "by": "ana"})[1]["desired"]["source"] == "ana"
    assert [line.split()[:2] for line in token("list").splitlines()] == [["phone", "actuate"], ["screen", "read"]]
    token("revoke", "phone")
    assert put(phone, {"value": 1})[0] == 401
