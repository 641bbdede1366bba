"""A headless Chromium and a running hub for the browser tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.running import LIGHTS, PASSWORD, POT, Board, RunningHub, running_hub
from tests.support.requirements import missing, need

PROBES = Path(__file__).with_name("probes.js")
STREAMS = 3
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; the tests are skipped when it is missing."""
    path = need("chromium", "apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with broker, webhook and store."""
    folder: Path = tmp_path_factory.mktemp("hub")
    with running_hub(folder, {"PINLOOP_EVENT_STREAMS_MAX": str(STREAMS)}) as running:
        yield running


@pytest.fixture
def lights(hub: RunningHub) -> Iterator[Board]:
    """The device with the pins red and green, both off."""
    board = Board(hub.broker, "lights", LIGHTS)
    board.report("red", 0, why="boot")
    board.report("green", 0, why="boot")
    yield board
    board.client.close()


@pytest.fixture
def pot(hub: RunningHub) -> Iterator[Board]:
    """The device with the sensor pot."""
    board = Board(hub.broker, "pot", POT)
    board.send("reading/pot", "50.5")
    yield board
    board.client.close()


@pytest.fixture
def page(chromium: Any, hub: RunningHub, lights: Board, pot: Board) -> Iterator[Any]:
    """The console, signed in and live; a message in the browser's console fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.add_init_script(path=PROBES)
    opened = context.new_page()
    complaints: list[str] = []
    opened.complaints = complaints
    opened.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    sign_in(opened, hub)
    yield opened
    assert complaints == []
    context.close()


def sign_in(page: Any, hub: RunningHub) -> None:
    """Go through the login with the keyboard and wait until the console is live."""
    page.set_default_timeout(10_000)
    page.goto(hub.url)
    page.wait_for_function("document.activeElement.id === 'password'")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#live[data-live=live]")
    page.wait_for_selector("[data-pin='lights/red']")
    page.wait_for_selector("[data-reading='pot/pot']")
