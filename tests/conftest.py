"""Fixtures for every test: a real broker, owned child processes."""

import gc
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.broker import Broker, Client, running_broker
from tests.support.processes import Child, start
from tests.support.requirements import missing

# A busy machine is no failure. `PINLOOP_EXAMPLES=thorough` (CI) looks at more of them.
_MACHINE_IS_BUSY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=30, **_MACHINE_IS_BUSY)
settings.register_profile("thorough", max_examples=100, **_MACHINE_IS_BUSY)
settings.register_profile("random", max_examples=100, **_MACHINE_IS_BUSY)
settings.load_profile(os.environ.get("PINLOOP_EXAMPLES", "quick"))


def pytest_collection_finish() -> None:
    """Take the tests themselves out of the garbage collector's sight: looking at thousands costs a tenth of the CPU."""
    gc.freeze()


@pytest.fixture(autouse=True)
def logs_of_this_test() -> None:
    """What a service set up in an earlier test of this process would write to that test's output."""
    structlog.reset_defaults()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto of this test's own, anonymous, on a free port."""
    with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    """A client of the test's broker."""
    with Client(broker) as connected:
        yield connected


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Return `spawn(args, env=...)`: starts a child that is gone when the test ends."""
    children: list[Child] = []

    def run(args: Sequence[str | Path], env: Mapping[str, str] | None = None, name: str = "") -> Child:
        children.append(start(args, tmp_path / f"{name or len(children)}.out", env))
        return children[-1]

    yield run
    for child in reversed(children):
        child.end()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]).returncode:
        missing("a file system of 1 MB takes root and mount")
    yield path
    subprocess.run(["umount", "-l", path], check=True)
