"""Virtual devices for tests: the real firmware, on a board of the test's own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.sim import create_device
from firmware.sim.engine import EngineError, find
from tests.support.broker import Broker
from tests.support.processes import Child, start
from tests.support.requirements import missing
from tests.support.wait import until

PREFIX = "pinloop/"


def require(engine: str) -> str:
    """Return `engine`, or skip loudly (fail under PINLOOP_REQUIRE=1) when it is not here."""
    try:
        find(engine)
    except EngineError as error:
        missing(str(error))
    return engine


class Device:
    """A virtual device that the test may power, starve and look at.

    Attributes:
        config: what device.json holds; change it before `power`.
    """

    def __init__(self, folder: Path, profile: str, engine: str, host: str, port: int) -> None:
        self.folder = folder
        self.engine = engine
        self.id = folder.name
        create_device(folder, self.id, profile, {"host": host, "port": port, "keepalive_s": 2})
        self.config: dict[str, Any] = json.loads((folder / "device.json").read_text())
        self.child: Child | None = None

    def power(self) -> "Device":
        """Start the board."""
        (self.folder / "device.json").write_text(json.dumps(self.config))
        words = ["python", "-m", "firmware.sim", "run", self.folder, "--engine", self.engine]
        self.child = start(words, self.folder.parent / f"{self.id}.out")
        return self

    def off(self) -> int:
        """Take the power away and return the board's exit code."""
        return self.child.end() if self.child else 0

    def topic(self, rest: str) -> str:
        """Return a topic of this device."""
        return f"{PREFIX}{self.id}/{rest}"

    def pin(self, gpio: int) -> str:
        """Return what a pin is, "" before it was set up."""
        path = self.folder / f"pin{gpio}"
        return path.read_text() if path.exists() else ""

    def process(self) -> int:
        """Return the process id of the device that the board has started last."""
        return int(until(lambda: self._started()[-1], 5, "the device is started").rsplit(" ", 1)[1])

    def starts(self) -> int:
        """Return how often the board has started it."""
        return len(self._started())

    def text(self) -> str:
        """Return what board and device have printed."""
        assert self.child is not None
        return self.child.text()

    def _started(self) -> list[str]:
        return [line for line in self.text().splitlines() if "started with" in line]


@pytest.fixture(params=["micropython", "cpython"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each interpreter that runs the firmware."""
    return require(request.param)


@pytest.fixture
def make(tmp_path: Path, broker: Broker) -> Iterator[Callable[..., Device]]:
    """Return `make(profile, engine=..., **config)`: a device, not yet powered, off again after the test."""
    devices: list[Device] = []

    def build(profile: str, engine: str = "micropython", name: str = "", port: int = 0, **config: object) -> Device:
        device = Device(tmp_path / (name or profile), profile, require(engine), broker.host, port or broker.port)
        device.config.update(config)
        devices.append(device)
        return device

    yield build
    for device in devices:
        device.off()
