"""The health check of our containers, against the HTTP server that it asks."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.health import Health
from service.http import HttpServer
from service.probe import probe
from service.settings import HttpSettings
from tests.support.ports import free_port


@pytest.fixture
def health() -> Health:
    """A service without checks: all is well."""
    return Health("probed")


@pytest.fixture
def url(health: Health) -> Iterator[str]:
    """Where it answers."""
    server = HttpServer(HttpSettings(http_port=0), health)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_a_service_that_is_ready_passes(url: str) -> None:
    """As the container runs it."""
    done = subprocess.run([sys.executable, "-m", "service.probe", f"{url}/readyz"], capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_service_that_is_not_ready_fails_and_says_why(url: str, health: Health) -> None:
    """`docker inspect` shows the reason."""
    health.add("broker", lambda: "not connected to mosquitto:1883")

    done = subprocess.run([sys.executable, "-m", "service.probe", f"{url}/readyz"], capture_output=True, check=False)

    assert done.returncode == 1
    assert b"not connected to mosquitto:1883" in done.stdout


def test_another_answer_than_200_fails(url: str) -> None:
    """A wrong path must not look healthy."""
    assert probe(f"{url}/nowhere") is not None


def test_nobody_there_fails() -> None:
    """Without a traceback."""
    assert "refused" in (probe(f"http://127.0.0.1:{free_port()}/readyz") or "")
