"""A real loop is kept while it works, and is what it was after a restore: pins, readings, passwords."""

import base64
import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import firmware.sim
from pinloop.cli import main
from pinloop.local.layout import Layout, Ports
from pinloop.local.run import Loop, running_loop
from store.sqlite import SqliteStore
from tests.support.ports import free_port
from tests.support.processes import Child, children
from tests.support.requirements import need
from tests.support.wait import until

RULES = """\
version: 1
rules:
  - name: too-bright
    when: pot > 80
    clear: pot < 70
    then: [lights/red = 1, lights/green = 0]
"""
RIGHT_WITHIN_S = 10.0


class Running:
    """A loop that runs, with what a person can do to it."""

    def __init__(self, layout: Layout, ports: Ports, loop: Loop) -> None:
        self.layout, self.ports, self.loop = layout, ports, loop

    def until(self, probe: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait while the supervisor works."""
        until(lambda: (self.loop.tend(), probe())[1], timeout_s, what, every_s=0.02)

    def webhook(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the webhook as `operator`."""
        password = self.layout.password("operator").read_text().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports.webhook}{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"operator:{password}".encode()).decode())
        sent = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(request, sent, timeout=5) as answer:
            return json.load(answer)

    def claim(self, pin: str, value: int) -> None:
        """Claim a pin for an hour, as soon as the webhook knows it."""
        body = {"value": value, "for": "1h", "by": "test"}
        self.until(lambda: self.webhook("PUT", f"/pins/lights/{pin}", body), 15, f"a claim on {pin}")

    def turn(self, per_cent: float) -> None:
        """Turn the potentiometer."""
        turn(self.layout, per_cent)

    def pins(self) -> tuple[int, int]:
        """Return what red and green are, read off the virtual device."""
        return pins(self.layout.devices / "lights")


def pins(folder: Path) -> tuple[int, int]:
    return int((folder / "pin4").read_text()), int((folder / "pin5").read_text())


def turn(layout: Layout, per_cent: float) -> None:
    (layout.devices / "pot" / "adc32").write_text(f"{int(65535 * per_cent / 100)}\n")


def stored(layout: Layout) -> Counter[tuple[str, int]]:
    """Return how often each (boot, n) of the potentiometer is in the store."""
    with contextlib.closing(SqliteStore(layout.store)) as store:
        return Counter((boot, n) for _, boot, n, _ in store.identities(10**6))


def epoch(layout: Layout) -> str:
    with contextlib.closing(sqlite3.connect(layout.claims)) as connection:
        return connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0]


def pinloop(*words: str | Path) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def ports() -> Ports:
    need("mosquitto", "apt-get install mosquitto")
    return Ports(*(free_port() for _ in range(5)))


@contextlib.contextmanager
def started(layout: Layout, ports: Ports, virtual: bool = True) -> Iterator[Running]:
    with running_loop(layout, ports, virtual=virtual) as loop:
        yield Running(layout, ports, loop)


@contextlib.contextmanager
def busy(running: Running) -> Iterator[None]:
    """Renew a claim without a pause meanwhile, so that the claims database is written all the time."""
    over = threading.Event()
    written = []

    def work() -> None:
        while not over.is_set():
            running.webhook("PUT", "/pins/lights/green", {"value": 1, "for": "1h", "by": "test"})
            written.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: len(written) > 5, 5, "the claims database is busy")
        yield
        before = len(written)
        until(lambda: len(written) > before, 5, "the webhook goes on")
    finally:
        over.set()
        thread.join(10)


@pytest.mark.loop
@pytest.mark.long
@pytest.mark.timeout(150)
@pytest.mark.parametrize(("per_cent_later", "red"), [(95, 1), (5, 0)], ids=["still bright", "dark meanwhile"])
def test_a_restored_loop_has_its_pins_readings_and_passwords(
    tmp_path: Path, ports: Ports, per_cent_later: int, red: int
) -> None:
    """Kept under load with an alert and a person's claim; all of it is lost and comes back."""
    layout = Layout(tmp_path / "data", tmp_path / "elsewhere.yml")
    layout.rules.write_text(RULES)
    file = tmp_path / "kept.tar.gz"

    # Given a loop with an alert that fires and a claim by hand, ten readings a second.
    with started(layout, ports) as running:
        quick_pot(running)
        running.turn(95)
        running.claim("green", 1)
        running.until(lambda: running.pins() == (1, 1), 20, "red by the alert, green by hand")
        running.until(lambda: sum(stored(layout).values()) > 30, 20, "readings")

        # When it is kept while it works, and then everything changes.
        before = stored(layout)
        with busy(running):
            pinloop("backup", file, "--data-dir", layout.data)
        running.webhook("DELETE", "/pins/lights/green")
        running.turn(5)
        running.until(lambda: running.pins() == (0, 0), 20, "both pins are off")
        password = layout.password("console").read_text()
    layout.password("console").write_text("lost\n")
    old_epoch = epoch(layout)
    assert "elsewhere.yml" not in pinloop("restore", file, "--data-dir", layout.data)

    # Then the passwords are back, the database has another epoch, what was there is aside.
    restored = Layout(layout.data, layout.data / "rules.yml")
    assert restored.password("console").read_text() == password
    assert restored.rules.read_text() == RULES
    assert epoch(restored) != old_epoch
    (aside,) = tmp_path.glob("data.before-restore-*")
    assert (aside / "secrets" / "console.password").read_text() == "lost\n"

    # And every pin is what claims and readings say, soon after the start.
    turn(restored, per_cent_later)
    began_s = time.monotonic()
    with started(restored, ports) as running:
        running.until(lambda: running.pins() == (red, 1), RIGHT_WITHIN_S, "the pins are right")
        took_s = time.monotonic() - began_s
        running.until(
            lambda: (
                {pin["pin"]: pin["drift_s"] for pin in running.webhook("GET", "/pins")["pins"]}
                == {"red": None, "green": None}
            ),
            5,
            "no drift",
        )
        # And each reading of before is there once, and new ones come.
        running.until(lambda: sum(stored(restored).values()) > sum(before.values()) + 10, 20, "new readings")
    after = stored(restored)
    assert {key: after[key] for key in before} == dict.fromkeys(before, 1)
    assert set(after.values()) == {1}
    assert took_s < RIGHT_WITHIN_S


def quick_pot(running: Running) -> None:
    """Let the potentiometer publish ten times a second, from its next boot on."""
    path = running.layout.devices / "pot" / "device.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "interval_s": 0.1}))
    runner = next(one for one in running.loop.supervisor.runners if one.part.name == "device pot")
    assert runner.process is not None
    until(lambda: children(runner.process.pid), 5, "the device has power")
    os.kill(children(runner.process.pid)[0], signal.SIGKILL)


@pytest.mark.loop
@pytest.mark.long
@pytest.mark.timeout(150)
def test_a_board_that_stayed_on_takes_the_commands_of_a_restored_webhook(
    tmp_path: Path, ports: Ports, spawn: Callable[..., Child]
) -> None:
    """It has followed greater numbers than the backup knows: only another epoch makes it listen."""
    layout = Layout(tmp_path / "data", tmp_path / "data" / "rules.yml")
    file = tmp_path / "kept.tar.gz"
    board = tmp_path / "board"

    # Given a board with a claim, kept.
    with started(layout, ports, virtual=False) as running:
        password = layout.password("lights").read_text().strip()
        mqtt = {"host": "127.0.0.1", "port": ports.mqtt, "user": "lights", "password": password, "prefix": "pinloop"}
        firmware.sim.create_device(board, "lights", "lights", mqtt)
        spawn(["python", "-m", "firmware.sim", "run", board], name="board")
        running.claim("red", 1)
        until(lambda: pins(board)[0] == 1, 15, "red is on")
        pinloop("backup", file, "--data-dir", layout.data)

    # When it then obeys a webhook whose clock is a day ahead, which switches it off.
    with contextlib.closing(sqlite3.connect(layout.claims)) as connection, connection:
        connection.execute("UPDATE commands SET seq = seq + 86400000")
    with started(layout, ports, virtual=False) as running:
        running.claim("red", 0)
        until(lambda: pins(board)[0] == 0, 20, "red is off")
    pinloop("restore", file, "--data-dir", layout.data)

    # Then the restored claim reaches it all the same.
    with started(layout, ports, virtual=False):
        until(lambda: pins(board)[0] == 1, RIGHT_WITHIN_S, "red is on again")
