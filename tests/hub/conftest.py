"""One running hub for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.hub.running import LIGHTS, POT, Board, RunningHub, running_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with broker, webhook and store."""
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def lights(hub: RunningHub) -> Iterator[Board]:
    """The device with the pins red and green."""
    board = Board(hub.broker, "lights", LIGHTS)
    yield board
    board.client.close()


@pytest.fixture
def pot(hub: RunningHub) -> Iterator[Board]:
    """The device with the sensor pot."""
    board = Board(hub.broker, "pot", POT)
    yield board
    board.client.close()
