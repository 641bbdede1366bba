"""Where the broker is: a name server that is away must not take the address that is known."""

import asyncio
import socket
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.support.processes import ROOT


@pytest.fixture
def mqtt(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The firmware's client, on this interpreter, with a clock that the test sets."""
    for folder in ("cpython", "stand_ins"):
        monkeypatch.syspath_prepend(str(ROOT / "firmware" / "sim" / folder))
    before = set(sys.modules)
    import firmware.mqtt as module

    yield module  # type: ignore[misc]
    for name in set(sys.modules) - before:
        del sys.modules[name]


class Names:
    """A name server and a network in which nothing answers."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms = 0
        self.takes_ms = 0
        self.answer = "10.0.0.1"
        self.asked = 0
        self.called: list[str] = []
        monkeypatch.setattr(module, "now_ms", lambda: self.now_ms)
        monkeypatch.setattr(module.socket, "getaddrinfo", self._look_up)
        monkeypatch.setattr(module.asyncio, "open_connection", self._open)
        self.client = module.Client({"host": "broker"}, "pot", ("will", "x"), None, None, 700)

    def connect(self) -> list[str]:
        """Try once; return the addresses that were called by then."""
        with pytest.raises(OSError, match="cannot connect"):
            asyncio.run(self.client.serve(lambda: None))
        return self.called

    def _look_up(self, *_: Any) -> list[Any]:
        self.asked += 1
        self.now_ms += self.takes_ms
        if not self.answer:
            raise OSError("no name server")
        return [(socket.AF_INET, 1, 6, "", (self.answer, 1883))]

    async def _open(self, address: str, _port: int) -> Any:
        self.called.append(address)
        raise OSError("refused")


@pytest.fixture
def names(mqtt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(mqtt, monkeypatch)


def test_an_address_that_is_known_outlives_the_name_server(names: Names) -> None:
    """The router comes back before its name server does; until then nobody asks at every try."""
    names.connect()
    names.answer = ""
    names.takes_ms = 15_000
    for _ in range(5):
        names.connect()
    assert names.called == ["10.0.0.1"] * 6
    assert names.asked == 2
    names.now_ms += 60_000
    names.answer = "10.0.0.2"
    assert names.connect()[-1] == "10.0.0.2"


def test_a_quick_name_server_is_asked_again_after_each_failure(names: Names) -> None:
    """The broker has moved."""
    names.connect()
    names.answer = "10.0.0.2"
    assert names.connect() == ["10.0.0.1", "10.0.0.2"]


def test_without_any_address_it_asks_at_every_try(names: Names) -> None:
    """Nothing else can be done."""
    names.answer = ""
    for _ in range(3):
        names.connect()
    assert (names.asked, names.called) == (3, [])
