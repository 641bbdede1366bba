"""The picture of devices, readings and pins."""

import json
from typing import Any

import pytest

from contract.commands import Command, State
from hub.feed import Feed
from hub.live import MAX_SENSORS_PER_DEVICE, Picture
from hub.settings import Settings, stale_of
from hub.views import alert_views, device_views, pin_view, pin_views
from service.errors import SettingsError

INFO = {"sensors": {"pot": {"unit": "%"}}, "pins": {"red": {"gpio": 4}}}


class Clock:
    """Seconds since 1970 that the test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make() -> tuple[Picture, Clock]:
    """Return a picture whose broker answers, and its clock."""
    clock = Clock()
    picture = Picture(Feed(clock), clock, lambda device, own: 60 if own else 900)
    picture.link("broker", None)
    return picture, clock


def events(picture: Picture) -> list[tuple[str, Any]]:
    """Return every (kind, fields) so far."""
    return [(event.kind, json.loads(event.body)) for event in picture.feed.after(0) or []]


def shown(picture: Picture) -> dict[str, Any]:
    """Return the only pin as its card shows it."""
    (view,) = pin_views(picture)
    return view


def test_a_status_that_was_retained_has_no_beginning() -> None:
    """Nobody knows since when a retained status holds; a live change is timed."""
    picture, clock = make()
    picture.status("pot", "online", retained=True)
    assert picture.devices()[0]["since_s"] is None
    clock.now_s = 1010
    picture.status("pot", "offline", retained=False)
    assert (picture.devices()[0]["status"], picture.devices()[0]["since_s"]) == ("offline", 1010)


def test_a_repeated_status_keeps_its_time() -> None:
    """After a broker's restart every retained status comes again; that is no news."""
    picture, clock = make()
    picture.status("pot", "online", retained=False)
    clock.now_s = 2000
    picture.status("pot", "online", retained=True)
    assert picture.devices()[0]["since_s"] == 1000


def test_an_info_that_only_counts_on_is_no_news() -> None:
    """Each device says every minute how long it has been up; the page need not ask for the list again."""
    picture, _ = make()
    picture.info("pot", {**INFO, "uptime_s": 60, "rssi": -60})
    before = len(events(picture))
    picture.info("pot", {**INFO, "uptime_s": 120, "rssi": -63})
    assert (len(events(picture)), picture.devices()[0]["info"]["uptime_s"]) == (before, 120)
    picture.info("pot", {**INFO, "fw": "0.2.0"})
    assert events(picture)[before:] == [("info", {"device": "pot"})]


def test_an_older_reading_does_not_replace_a_newer_one() -> None:
    """Back-fill and what the store remembers never hide the present."""
    picture, _ = make()
    picture.reading("pot", "pot", 61.5, 1000)
    picture.reading("pot", "pot", 12, 900)
    assert picture.devices()[0]["readings"]["pot"]["value"] == 61.5


def test_a_slow_sensor_is_not_called_stale_between_its_readings() -> None:
    """Stale is later than three of the sensor's own pauses, at least the setting."""
    picture, _ = make()
    picture.info("pot", INFO)
    picture.reading("pot", "pot", 1, 1000)
    assert picture.devices()[0]["readings"]["pot"]["stale_s"] == 60
    picture.reading("pot", "pot", 2, 1300)
    assert picture.devices()[0]["readings"]["pot"]["stale_s"] == 900


def test_a_reading_of_other_firmware_is_current_for_longer() -> None:
    """Its sensors stand in no info of ours; many report every five minutes, and the first pause is not known yet."""
    picture, _ = make()
    picture.info("kettle", {**INFO, "sensors": {}})
    picture.reading("kettle", "power", 12, 1000)
    assert picture.devices()[0]["readings"]["power"]["stale_s"] == 900


def test_how_long_a_reading_is_current_can_be_said_of_single_devices() -> None:
    """A door that reports when it is opened; the twin: a text that says nothing."""
    stale = stale_of(Settings(stale_devices="door=2d, attic=90", stale_s=60, stale_foreign_s=1000))
    assert [stale("door", False), stale("attic", True), stale("pot", True), stale("kettle", False)] == [
        172800, 90, 60, 1000,
    ]  # fmt: skip
    for text, rule in (("door=soon", "'soon' is not a time"), ("Door=2d", "device")):
        with pytest.raises(SettingsError, match=rule):
            stale_of(Settings(stale_devices=text))


def test_the_decimals_of_a_sensor_do_not_jump() -> None:
    """61.5 is followed by 62.0, not by 62: the text keeps its width."""
    picture, _ = make()
    picture.reading("pot", "pot", 61.5, 1000)
    picture.reading("pot", "pot", 62, 1001)
    assert events(picture)[-1][1]["decimals"] == 1


def test_a_pin_differs_from_the_command_until_it_reports_the_value() -> None:
    """The mark begins with the command and ends with the report."""
    picture, clock = make()
    picture.status("lights", "online", retained=False)
    picture.command("lights", "red", Command(1, seq=5))
    assert shown(picture)["differs_since_s"] == 1000
    clock.now_s = 1003
    picture.state("lights", "red", State(0, 0, "boot"), retained=False)
    assert shown(picture)["differs_since_s"] == 1000
    picture.state("lights", "red", State(1, 5, "command"), retained=False)
    assert shown(picture)["differs_since_s"] is None
    picture.command("lights", "red", None)
    assert shown(picture)["differs_since_s"] is None


def test_a_value_is_current_only_while_device_and_broker_are_there() -> None:
    """What an absent device said last is shown as that, with the time until which it is known."""
    picture, clock = make()
    picture.status("lights", "online", retained=False)
    picture.state("lights", "red", State(1, 5, "command"), retained=False)
    assert (shown(picture)["current"], shown(picture)["until_s"]) == (True, None)
    clock.now_s = 1100
    picture.status("lights", "offline", retained=False)
    assert (shown(picture)["current"], shown(picture)["until_s"]) == (False, 1100)
    assert shown(picture)["away_since_s"] == 1100
    picture.status("lights", "online", retained=False)
    assert shown(picture)["away_since_s"] is None
    clock.now_s = 1200
    picture.link("broker", "no connection")
    assert (shown(picture)["current"], shown(picture)["until_s"]) == (False, 1200)
    assert shown(picture)["away_since_s"] == 1200  # not since it came online


def test_a_status_is_only_the_last_known_one_while_the_broker_is_away() -> None:
    """A green dot says that a device is there now. One that only its readings tell of is not "unknown"."""
    picture, clock = make()
    picture.status("lights", "online", retained=False)
    picture.reading("meter", "power", 3.0, clock())
    picture.command("pump", "main", None)

    def said() -> dict[str, tuple[str, bool]]:
        return {view["device"]: (view["says"], view["heard"]) for view in device_views(picture)}

    assert said()["lights"] == ("online", True)
    assert (said()["meter"][0], said()["pump"][0]) == ("readings, no status", "not heard of yet")
    picture.link("broker", "no connection")
    assert said()["lights"] == ("last known online", False)


def test_a_pin_that_only_its_device_declares_is_shown_without_a_value() -> None:
    """Declared, never commanded, never reported: the value is unknown, not off."""
    picture, _ = make()
    picture.status("lights", "online", retained=False)
    picture.info("lights", {"sensors": {}, "pins": {"speed": {"min": 0, "max": 1023}}})
    view = shown(picture)
    assert (view["now"], view["current"], view["is_switch"], view["high"]) == ("?", False, False, 1023)


def test_a_wish_for_a_safe_value_that_nobody_knows_has_no_number() -> None:
    """The webhook's slot `unknown` may come without a value; that is shown, not a crash."""
    picture, _ = make()
    claim = {"value": None, "slot": "unknown", "source": "dry", "since_s": 1, "until_s": None, "fingerprint": "f"}
    view = {"device": "lights", "pin": "red", "desired": claim, "claims": [claim], "changes": []}
    picture.explained([view])
    assert (shown(picture)["wanted"], shown(picture)["claims"][0]["says"]) == (None, "the safe value")


def test_a_person_is_told_from_an_alert_by_the_missing_fingerprint() -> None:
    """Only a person's claim can be released from the console."""
    picture, _ = make()
    person = {"value": 0, "slot": "manual", "source": "anna", "since_s": 1, "until_s": 2, "fingerprint": ""}
    alert = {**person, "value": 1, "slot": "safety", "source": "flood", "fingerprint": "f00"}
    view = {"device": "lights", "pin": "red", "desired": alert, "claims": [alert, person], "changes": []}
    picture.explained([view])
    found = pin_view(picture, picture.pins()[0])
    assert (found["manual"]["source"], found["by_person"]) == ("anna", False)


def test_the_history_of_a_pin_begins_with_what_held_before() -> None:
    """A chart of the last minutes starts with the state in which the pin was then."""
    picture, clock = make()
    for now_s, value in ((1000, 0), (1010, 1), (1020, 0)):
        clock.now_s = now_s
        picture.state("lights", "red", State(value, now_s, "command"), retained=False)
        picture.state("lights", "red", State(value, now_s + 1, "command"), retained=False)
    assert picture.pin_history(1015) == {("lights", "red"): [(1010, 1), (1020, 0)]}


def test_a_forgotten_device_takes_its_pins_along() -> None:
    """Clearing the retained status removes the device."""
    picture, _ = make()
    picture.info("lights", INFO)
    picture.forget_device("lights")
    assert (picture.devices(), picture.pins(), picture.pin_history(0)) == ([], [], {})


def test_it_does_not_grow_with_invented_names() -> None:
    """A device that makes up sensors fills its own share at most."""
    picture, _ = make()
    for index in range(MAX_SENSORS_PER_DEVICE + 5):
        picture.reading("pot", f"s{index}", 1, 1000)
    assert len(picture.devices()[0]["readings"]) == MAX_SENSORS_PER_DEVICE


def test_no_alert_is_not_said_while_the_webhook_is_away() -> None:
    """Unknown and none are different answers."""
    picture, _ = make()
    assert alert_views(picture)["away"]
    picture.link("webhook", None)
    assert alert_views(picture) == {"firing": [], "resolved": [], "away": False}


def test_a_report_that_is_cleared_is_gone_and_so_is_a_pin_that_nobody_declares() -> None:
    """`pinloop pin forget`; a pin that its device declares stays, without a report."""
    picture, _ = make()
    picture.info("lights", INFO)
    for pin in ("red", "old"):
        picture.state("lights", pin, State(1, 7, "command"), retained=True)
        picture.forget_report("lights", pin)
    assert [(entry["pin"], entry["reported"]) for entry in picture.pins()] == [("red", None)]
    picture.forget_report("lights", "never")
