"""Health, readiness and metrics over a real port; slow clients; a taken port."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import pairwise

import pytest
import urllib3

from service.errors import StartError
from service.health import Health
from service.http import HttpServer
from service.settings import HttpSettings
from tests.support.wait import until


@pytest.fixture
def health() -> Health:
    return Health("pump")


@pytest.fixture
def server(health: Health) -> Iterator[HttpServer]:
    running = HttpServer(HttpSettings(http_port=0), health, threads=2)
    running.start()
    yield running
    running.stop()


def get(server: HttpServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_service_with_nothing_wrong_is_ready(server: HttpServer, health: Health):
    """A check that returns None is fine."""
    health.add("broker", lambda: None)
    status, body = get(server, "/readyz")
    assert status == 200
    assert json.loads(body)["ok"] is True


def test_a_failing_check_is_named_in_readyz_and_leaves_healthz_alone(server: HttpServer, health: Health):
    """Not ready is not dead: an orchestrator must not restart a service because the broker is away."""
    health.add("broker", lambda: "not connected to 127.0.0.1:1883")
    status, body = get(server, "/readyz")
    assert status == 503
    assert json.loads(body)["problems"] == {"broker": "not connected to 127.0.0.1:1883"}
    assert get(server, "/healthz")[0] == 200


def test_a_check_that_raises_has_failed(server: HttpServer, health: Health):
    """A broken check is a finding, not a crash."""
    health.add("disk", lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    status, body = get(server, "/readyz")
    assert status == 503
    assert "ZeroDivisionError" in json.loads(body)["problems"]["disk"]


def test_a_warning_is_told_and_leaves_the_service_ready(server: HttpServer, health: Health):
    """What a service works without must not take it out of service."""
    health.add_warning("readback", lambda: "http://grafana:3000 does not answer")
    status, body = get(server, "/readyz")
    assert status == 200
    assert json.loads(body)["warnings"] == {"readback": "http://grafana:3000 does not answer"}


def test_metrics_are_prometheus_text_and_other_paths_are_404(server: HttpServer):
    """A service without an application serves its three paths only."""
    assert "# TYPE python_info gauge" in get(server, "/metrics")[1]
    assert get(server, "/secret")[0] == 404


def test_a_taken_port_is_one_clear_error(server: HttpServer, health: Health):
    """The second one names the address and the setting."""
    second = HttpServer(HttpSettings(http_port=server.port), health)
    with pytest.raises(StartError, match=rf"cannot listen on 127.0.0.1:{server.port} .*--http-port"):
        second.start()


def test_three_hundred_slow_clients_do_not_hold_up_a_valid_one(server: HttpServer):
    """Half a request each: waitress's defaults would stop at 100 connections."""
    slow = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(300)]
    for one in slow:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    answers: list[int] = []
    worker = threading.Thread(target=lambda: answers.append(get(server, "/healthz")[0]))
    worker.start()
    worker.join(5)
    assert answers == [200]
    for one in slow:
        one.close()


def test_many_who_come_at_once_are_taken_together(server: HttpServer, monkeypatch: pytest.MonkeyPatch):
    """One in each pass of the loop, which looks at all of them, would keep the next one waiting for a second."""
    passes = []
    listening = next(one for one in server._map.values() if hasattr(one, "active_channels"))
    readable = listening.readable
    monkeypatch.setattr(listening, "readable", lambda: passes.append(len(server._map)) or readable())
    crowd = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(300)]
    until(lambda: len(server._map) >= 300)
    assert max(after - before for before, after in pairwise(passes)) > 1
    assert get(server, "/healthz")[0] == 200
    for one in crowd:
        one.close()


def test_a_client_that_keeps_its_connection_does_not_hold_up_the_stop(health: Health):
    """rules and hub keep connections to the webhook for ever; stopping must not wait for them."""
    server = HttpServer(HttpSettings(http_port=0), health)
    server.start()
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", f"http://127.0.0.1:{server.port}/healthz").status == 200
        assert server._thread is not None
        began_s = time.monotonic()
        server.stop()
        assert not server._thread.is_alive()
        assert time.monotonic() - began_s < 2
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), 1)


def test_a_request_whose_bytes_drip_in_ends(server: HttpServer, monkeypatch: pytest.MonkeyPatch):
    """A byte now and then keeps a connection from being idle, and must not keep it for ever."""
    monkeypatch.setattr("service.http_channel._REQUEST_TIMEOUT_S", 1)
    with socket.create_connection(("127.0.0.1", server.port), 5) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        began_s = time.monotonic()
        slow.settimeout(0.2)
        ended = False
        while not ended and time.monotonic() - began_s < 8:
            try:
                slow.sendall(b"x")
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended


def test_what_the_server_itself_refuses_is_problem_details(server: HttpServer):
    """Before any application has seen it: no HTTP, too long a header, too long a body, another path, another method."""
    for request, status in (
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: ".ljust(16 * 1024, b"x"), 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
    ):
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(request)
            head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        assert f" {status} ".encode() in head
        assert b"Content-Type: application/problem+json" in head
        assert json.loads(body)["status"] == status
