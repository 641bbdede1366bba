"""pins.yml is followed while the webhook runs, and only while it is good; stricter and looser guards act at once."""

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from datetime import time as clock
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.document import DocumentError
from tests.support.broker import Client
from tests.support.wait import until
from tests.webhook.desk import NOW_S
from tests.webhook.guarded import BACK, EXCLUSIVE, MAIN, Guarded
from webhook.commands import Pin, PinCommand
from webhook.guards import NO_LIMITS, Limits, Quiet
from webhook.pin_book import PinBook


def change(pump: Guarded, limits: dict[Pin, Limits]) -> list[PinCommand]:
    """Let the file say something else of the pump's pins, and return what is sent."""
    return pump.claims.configure(limits, {}, [MAIN, BACK], pump.now_s)


def test_a_shorter_longest_run_ends_a_run_that_is_longer(guarded: Callable[..., Guarded]) -> None:
    """And it starts again only once nobody wants it on any more, like after any trip."""
    pump = guarded(Limits())
    pump.fire("dry")
    pump.now_s += 600
    assert [one.value for one in change(pump, {MAIN: Limits(max_on_s=300)})] == [0]
    assert pump.held() == ("max_on_s", None)


def test_a_longest_run_that_is_new_bounds_the_lease_of_a_run_that_goes_on(guarded: Callable[..., Guarded]) -> None:
    """A webhook that dies before the run's end must not prolong it: the device is told the shorter lease at once."""
    pump = guarded(Limits())
    pump.fire("dry")
    pump.now_s += 100
    sent = change(pump, {MAIN: Limits(max_on_s=150)})
    assert [(one.value, one.ttl_s) for one in sent] == [(1, 55)]
    assert [one.value for one in pump.later(50)] == [0]


def test_a_trip_outlives_a_limit_that_is_taken_out_or_made_longer(guarded: Callable[..., Guarded]) -> None:
    """It protects from damage: only that nobody wants it on any more ends it."""
    pump = guarded(Limits(max_on_s=300))
    pump.fire("dry")
    pump.later(300)
    for limits in (Limits(max_on_s=3600), NO_LIMITS):
        change(pump, {MAIN: limits})
        assert (pump.value(), pump.held()) == (0, ("max_on_s", None))
    pump.end("dry")
    pump.fire("again")
    assert (pump.value(), pump.held()) == (1, None)


@pytest.mark.parametrize("limits", [{MAIN: Limits(min_off_s=60)}, {MAIN: NO_LIMITS}, {}])
def test_what_waited_passes_when_the_guard_is_looser(
    guarded: Callable[..., Guarded], limits: dict[Pin, Limits]
) -> None:
    """Whether its time is shorter, it is 0, or the pin is no more in the file."""
    pump = guarded(Limits(min_off_s=3600))
    pump.fire("a")
    pump.end("a")
    pump.now_s += 60
    pump.fire("b")
    assert pump.held() == ("min_off_s", 3540)
    assert [one.value for one in change(pump, limits)] == [1]
    assert pump.held() is None


def test_what_waits_waits_longer_when_the_guard_is_stricter(guarded: Callable[..., Guarded]) -> None:
    """From the moment at which it was switched, not from the change; also of a pin that had no guard until now."""
    pump = guarded(Limits())
    pump.fire("a")
    pump.end("a")
    pump.now_s += 10
    change(pump, {MAIN: Limits(min_off_s=60)})
    pump.fire("b")
    assert pump.held() == ("min_off_s", 50)
    change(pump, {MAIN: Limits(min_off_s=600)})
    assert pump.held() == ("min_off_s", 590)


def test_quiet_hours_that_are_new_switch_off_what_is_on_in_them(guarded: Callable[..., Guarded]) -> None:
    """And taken out again they let it on."""
    pump = guarded(Limits())
    pump.fire("a")
    hour = datetime.fromtimestamp(NOW_S, UTC).hour
    quiet = Quiet(clock(hour), clock((hour + 2) % 24), ZoneInfo("UTC"))
    assert [one.value for one in change(pump, {MAIN: Limits(quiet=quiet)})] == [0]
    assert (pump.held() or ("",))[0] == "quiet"
    pump.observed.pins.clear()  # no device declares quiet hours: nobody has to be heard about them
    assert [one.value for one in change(pump, {})] == [1]


def test_of_pins_that_exclude_one_another_from_now_on_one_goes_off(guarded: Callable[..., Guarded]) -> None:
    """At once, both were on."""
    pump = guarded(Limits(), NO_LIMITS)
    pump.fire("a", MAIN)
    pump.fire("b", BACK)
    change(pump, {MAIN: EXCLUSIVE["main"], BACK: EXCLUSIVE["back"]})
    assert sorted([pump.value(MAIN), pump.value(BACK)], key=str) == [0, 1]


def test_a_preference_that_is_new_decides_at_once(guarded: Callable[..., Guarded]) -> None:
    """Of two claims in a slot the lower value wins from now on."""
    pump = guarded(Limits())
    pump.fire("a", value=1)
    pump.fire("b", value=5)
    assert pump.value() == 5
    assert [one.value for one in pump.claims.configure({}, {MAIN: "low"}, [MAIN], pump.now_s)] == [1]


def test_a_pin_that_nobody_ever_asked_for_is_sent_nothing(guarded: Callable[..., Guarded]) -> None:
    """Guards of a pin are no wish."""
    pump = guarded(Limits())
    assert change(pump, {MAIN: Limits(min_on_s=5), BACK: Limits(max_on_s=5)}) == []


class Edited:
    """A pins file that a test edits, and what its followers were told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[list[Pin]] = []
        self.fails = False
        self.write("pump/main: {min_on_s: 5}", "pump/back: {dry_run: true}")
        self.book = PinBook(path, "pump/side=low", self.take)

    def write(self, *lines: str) -> None:
        self.path.write_text("version: 1\npins:\n" + "".join(f"  {line}\n" for line in lines))

    def take(self, pins: list[Pin]) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        self.told.append(pins)

    def look(self) -> None:
        """Look often enough to see that an edited file stands still."""
        for _ in range(2):
            self.book.look()


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """A book of two pins."""
    return Edited(tmp_path / "pins.yml")


def test_a_changed_file_tells_which_pins_it_changes(edited: Edited) -> None:
    """Those that are new, that are gone, and that say something else; no others."""
    edited.write("pump/main: {min_on_s: 5}", "pump/top: {preference: low}")
    edited.look()
    assert edited.told == [[("pump", "back"), ("pump", "top")]]
    assert edited.book.preferences == {("pump", "side"): "low", ("pump", "top"): "low"}
    assert (edited.book.rehearsed(), edited.book.problem()) == ([], None)


def test_a_file_with_a_mistake_changes_nothing_and_is_told(edited: Edited) -> None:
    """Until it is good again, whatever the mistake: a key, a preference that a setting says, too, or no file at all."""
    for line in ("pump/main: {min_of_s: 5}", "pump/side: {preference: high}", "pump/main: [", ""):
        edited.write(line)
        edited.look()
        assert edited.book.limits()["pump", "main"].min_on_s == 5
        assert "the guards of " in str(edited.book.problem()), line
    edited.path.unlink()
    edited.look()
    assert "cannot be read (no such file or directory)" in str(edited.book.problem())
    edited.write("pump/main: {min_on_s: 5}", "pump/back: {dry_run: true}")
    edited.look()
    assert (edited.told, edited.book.problem()) == ([], None)


def test_what_could_not_be_done_is_tried_again(edited: Edited) -> None:
    """The claims database was full when the file came."""
    edited.fails = True
    edited.write("pump/main: {min_on_s: 6}", "pump/back: {dry_run: true}")
    edited.book.look()
    with pytest.raises(OSError, match="No space"):
        edited.book.look()
    edited.fails = False
    edited.look()
    assert edited.told == [[("pump", "main")]]


def test_at_the_start_a_mistake_is_an_error(tmp_path: Path) -> None:
    """There is nothing older to go on with."""
    with pytest.raises(DocumentError, match="cannot be read"):
        PinBook(tmp_path / "missing.yml", "")


@pytest.mark.long
def test_a_running_webhook_follows_its_file(make_webhook: Callable[..., Any], client: Client, tmp_path: Path) -> None:
    """A guard is there, dry-run too; a mistake makes it unready and changes nothing. SIGHUP spares the wait."""
    pins = tmp_path / "pins.yml"

    def edit(text: str) -> None:
        pins.write_text(f"version: 1\npins: {text}\n")
        if webhook:
            os.kill(webhook.process.pid, signal.SIGHUP)

    webhook: Any = None
    edit("{}")
    webhook = make_webhook(reconcile_s=0.3, pins_path=pins).start()
    red = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("a", "lights/red=1")
    red.until(lambda message: message.payload)
    edit("{lights/red: {min_on_s: 600}}")
    until(lambda: webhook.metric('webhook_pins_reloads_total{result="ok"}') == 1, 5, "the file is read")
    webhook.alert("a", "lights/red=1", "resolved")
    held = until(lambda: webhook.pin("lights", "red")["held"], 2, "the guard holds the release")
    assert held["by"] == "min_on_s"
    assert held["until_s"] > time.time() + 500
    edit("{lights/red: {min_on: 1}}")
    until(lambda: webhook.call("GET", "/readyz")[0] == 503, 5, "the mistake is told")
    assert "min_on: is not a key" in webhook.call("GET", "/readyz")[1]["problems"]["pins"]
    edit("{lights/red: {dry_run: true}}")
    red.until(lambda message: not message.payload)
    ready = until(lambda: webhook.call("GET", "/readyz")[1], 2, "an answer")
    assert (ready["ok"], ready["warnings"]) == (True, {"dry_run": "no command is sent to lights/red"})
