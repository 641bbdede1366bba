"""What `pinloop up` and the tables of the commands show on a narrow terminal."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from rich.console import Console

from pinloop.deadletter import _when
from pinloop.local.layout import Layout
from pinloop.local.prepare import own_boards
from pinloop.local.readiness import why_not_ready
from pinloop.local.screen import Prober, Screen, _doing, state_of
from pinloop.local.supervisor import Part, Runner
from pinloop.pin_rows import COLUMNS, SELDOM, note
from pinloop.show import table
from service.health import Health
from tests.support.ports import free_port


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def full() -> Iterator[str]:
    """Return the /readyz of a service whose disk is full."""
    health = Health("listener")
    health.add("store", lambda: "store.db: database or disk is full")
    with make_server("127.0.0.1", 0, health.wsgi, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/readyz"
        server.shutdown()
        thread.join()


def running(part: Part, folder: Path) -> Runner:
    """Return the runner of a part that has run for a minute."""
    runner = Runner(part, folder)
    runner.process = SimpleNamespace(poll=lambda: None)  # type: ignore[assignment]
    runner._started_at_s = time.monotonic() - 60
    return runner


def drawn(runners: list[Runner], prober: Prober, columns: int) -> str:
    """Return the table as a terminal of that width shows it."""
    out = io.StringIO()
    console = Console(file=out, width=columns, height=40, force_terminal=False)
    console.print(Screen(console, [("console", "http://127.0.0.1:8080/")], "Logs: data/log/")._draw(runners, prober))
    return out.getvalue()


def test_a_part_that_is_not_ready_says_why_in_words(full: str, tmp_path: Path) -> None:
    """Not as JSON, and not cut off at 80 columns."""
    assert why_not_ready(full) == "store: store.db: database or disk is full"
    runner = running(Part("listener", (), address="127.0.0.1:8082", ready_url=full), tmp_path)
    prober = Prober([runner])
    prober.ready["listener"], prober.doing["listener"] = False, why_not_ready(full) or ""
    assert state_of(runner, prober) == ("not ready", "store: store.db: database or disk is full")
    words = " ".join(drawn([runner], prober, 80).split())
    assert "not ready 127.0.0.1:8082 store: store.db: database or disk is" in words
    assert "…" not in words


def test_a_part_that_does_not_answer_or_is_another_program_is_told_as_it_is() -> None:
    """The twin: what is no answer of ours is not made one."""
    assert "refused" in str(why_not_ready(f"http://127.0.0.1:{free_port()}/readyz"))

    def empty(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [])
        return []

    with make_server("127.0.0.1", 0, empty, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert why_not_ready(f"http://127.0.0.1:{server.server_port}/readyz") == "answers 404"
        thread.join()


def test_what_a_part_does_fits_80_columns(tmp_path: Path) -> None:
    """How many dead letters there are must not be what is cut off."""
    runner = running(Part("listener", (), address="127.0.0.1:8082", ready_url="http://127.0.0.1:1/readyz"), tmp_path)
    prober = Prober([runner])
    prober.ready["listener"], prober.doing["listener"] = True, "999 points stored, 0 dead letters"
    assert "999 points stored, 0 dead letters" in drawn([runner], prober, 80)


def test_one_is_one_and_two_are_many() -> None:
    """1 claim, 2 commands sent."""
    metrics = "webhook_claims 1.0\nwebhook_commands_published_total{kind='x'} 2.0\n".replace("'", '"')
    assert _doing("webhook", metrics) == "1 claim, 2 commands sent"


def test_what_a_device_said_long_ago_is_not_what_it_does(tmp_path: Path) -> None:
    """ "the broker is silent" once stood there for as long as nothing else was said, hours after it was back."""
    runner = running(Part("device pot", ()), tmp_path)
    runner.log.write_text("link: the broker is silent\n")
    assert state_of(runner, Prober([])) == ("running", "link: the broker is silent")
    os.utime(runner.log, (time.time() - 60, time.time() - 60))
    assert state_of(runner, Prober([])) == ("running", "")


def test_boards_that_were_let_in_earlier_are_known(tmp_path: Path) -> None:
    """Not the services, not the virtual devices, not the passwords of people."""
    layout = Layout(tmp_path, tmp_path / "rules.yml")
    layout.secrets.mkdir(parents=True)
    for name in ("console", "alerts", "operator", "svc.hub", "pinloop-doctor", "pot", "lights", "pump", "greenhouse"):
        layout.password(name).write_text("x")
    assert own_boards(layout) == ["greenhouse", "pump"]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what `table` prints on a terminal of 60 columns."""

    def show(*told: Any) -> str:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", "60")
        table(*told)
        monkeypatch.undo()
        return terminal.getvalue()

    return show


def test_a_pins_name_is_whole_on_a_narrow_terminal(shown: Callable[..., str]) -> None:
    """It is what the next command needs; columns with nothing in them do not take its room."""
    said = shown(COLUMNS, [("greenhouse/window_north", "1", "was 0", "manual", "anna", "-", "-", "note")], SELDOM)
    assert "greenhouse/window_north" in said
    assert "…" not in said
    assert "desired" in said
    assert "held" not in said


def test_a_column_with_something_in_it_is_shown(shown: Callable[..., str]) -> None:
    """The twin: one pin that differs is enough."""
    said = shown(COLUMNS, [("a/b", "1", "0", "manual", "anna", one, "-", "-") for one in ("-", "for 3 s")], SELDOM)
    assert "differs" in said
    assert "for 3 s" in said


def test_a_pin_that_the_hub_cannot_see_is_not_said_to_be_online() -> None:
    """The device was online when the broker went away; what it is now nobody knows."""
    seen = {"declared": True, "status": "online", "status_since_s": 0, "believed": None, "reported": {"value": 1}}
    assert note({**seen, "current": True}) == ""
    assert note({**seen, "current": False}) == "the hub does not hear the broker: last known"


def test_the_time_of_a_dead_letter_is_one_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, and to the second; what is no time, of a file that somebody edited, is shown as it is."""
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        assert _when("2026-11-21T19:38:26.703+00:00") == "2026-11-21 20:38:26+01:00"
        assert (_when("soon"), _when(None), _when(3)) == ("soon", "-", "3")
    finally:
        monkeypatch.undo()
        time.tzset()
