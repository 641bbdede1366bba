"""Facts to points: what is stored of each message, and what is not."""

from pathlib import Path
from typing import Any

import pytest

from contract.commands import Command, State
from contract.readings import Sample
from listener.assemble import Assembler
from listener.decode import Commanded, Info, Readings, Reported, Status
from store import Point
from store.sqlite import SqliteStore

NOW_NS = 1763690000 * 10**9
RED = (("device", "lights"), ("pin", "red"))


@pytest.fixture
def assembler() -> Assembler:
    """One that knows nothing yet."""
    return Assembler()


def readings(assembler: Assembler, fact: Readings) -> list[Point]:
    """Return the points of readings, without the notes of sensors."""
    return [point for point in assembler.points(fact, False, NOW_NS) if point.measurement == "readings"]


def told(value: float | None, by: str = "alert too-bright", seq: int = 5) -> Commanded:
    return Commanded("lights", "red", None if value is None else Command(value, seq, "e", 300, by))


def reported(value: float, why: str = "command", seq: int = 5) -> Reported:
    return Reported("lights", "red", State(value, seq, why))


def actuations(assembler: Assembler, *facts: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return (slot, fields) of the changes that the facts make, without how long they took."""
    points = [point for fact in facts for point in assembler.points(fact, False, NOW_NS)]
    changes = [(dict(p.tags)["slot"], dict(p.fields)) for p in points if p.measurement == "actuations"]
    return [(slot, {key: fields[key] for key in fields if key != "took_s"}) for slot, fields in changes]


def took_s(assembler: Assembler, fact: Any, at_s: float) -> list[Any]:
    """Return how long each change that the fact makes took, None where that is not said."""
    points = assembler.points(fact, False, NOW_NS + round(at_s * 1e9))
    return [point.fields.get("took_s") for point in points if point.measurement == "actuations"]


def test_a_reading_is_stored_once_with_its_identity(assembler: Assembler) -> None:
    """The redelivery of (device, boot, n) gives no point."""
    fact = Readings("pot", [Sample({"pot": 61.5}, None, 17, "k3f9")])
    fields = {"pot": 61.5, "n": 17, "boot": "k3f9"}
    assert readings(assembler, fact) == [Point("readings", (("device", "pot"),), fields, NOW_NS)]
    assert assembler.points(fact, False, NOW_NS + 1) == []


def test_what_was_stored_before_the_start_is_recognised(assembler: Assembler) -> None:
    """Identities come from the store."""
    assembler.preload([("pot", "k3f9", 17, "pot")])
    samples = [Sample({"pot": 1}, None, n, "k3f9") for n in (16, 17, 18)]
    assert [p.fields["n"] for p in readings(assembler, Readings("pot", samples))] == [16, 18]


def test_sensors_that_count_by_themselves_are_all_stored(assembler: Assembler, tmp_path: Path) -> None:
    """Firmware of others: n=1 of the temperature is another sample than n=1 of the humidity, also after a restart."""
    came = [Readings("pot", [Sample({sensor: 1.0}, None, n, "k3f9")]) for n in (1, 2) for sensor in ("temp", "hum")]
    came.append(Readings("pot", [Sample({"temp": 1.0, "hum": 1.0}, None, 3, "k3f9")]))
    points = [point for fact in came for point in readings(assembler, fact)]
    assert len(points) == 5
    store = SqliteStore(tmp_path / "readings.db")
    store.write(points[:-2])
    store.write(points[-1:])
    again = Assembler()
    again.preload(store.identities(64))
    store.close()
    assert [len(readings(again, fact)) for fact in came] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "sample", [Sample({"pot": 1}), Sample({"pot": 1}, None, 17), Sample({"pot": 1}, None, None, "k")]
)
def test_a_reading_without_an_identity_is_always_stored(assembler: Assembler, sample: Sample) -> None:
    """A number without the start from which it counts could hide every reading after a restart."""
    for _ in range(2):
        points = readings(assembler, Readings("pot", [sample]))
        assert [dict(point.fields) for point in points] == [{"pot": 1}]


def test_each_sensor_of_a_device_is_noted_once_a_day(assembler: Assembler) -> None:
    """What a dashboard can offer for one device."""
    found = []
    for hours, device, values in ((0, "pot", {"a": 1.0, "b": 2.0}), (1, "pot", {"a": 1.0}), (2, "pit", {"a": 1.0}),
                                  (24, "pot", {"a": 1.0})):  # fmt: skip
        at_ns = NOW_NS + hours * 3600 * 10**9
        points = assembler.points(Readings(device, [Sample(values)]), False, at_ns)
        found += [(hours, *dict(p.tags).values(), dict(p.fields)) for p in points if p.measurement == "sensors"]
    seen = {"seen": 1}
    assert found == [(0, "pot", "a", seen), (0, "pot", "b", seen), (2, "pit", "a", seen), (24, "pot", "a", seen)]


def test_nothing_retained_is_a_point(assembler: Assembler) -> None:
    """It is as old as it may be."""
    facts = [
        Readings("pot", [Sample({"pot": 1}, None, 1, "k")]),
        Status("pot", "online"),
        Info("pot", {"rssi": -60}),
        told(1),
        reported(1),
    ]
    assert [assembler.points(fact, True, NOW_NS) for fact in facts] == [[]] * 5


@pytest.mark.parametrize(("status", "online"), [("online", 1), ("offline", 0), ("sleeping", 1)])
def test_a_status_is_a_point_of_the_device(assembler: Assembler, status: str, online: float) -> None:
    """Sleeping is announced, so nothing is wrong."""
    points = assembler.points(Status("pot", status), False, NOW_NS)
    assert points == [Point("devices", (("device", "pot"),), {"online": online}, NOW_NS)]


def test_of_info_the_numbers_that_change_are_stored(assembler: Assembler) -> None:
    """What is no number is left out: info is read loosely."""
    info = {"fw": "1", "rssi": -60, "heap": True, "uptime_s": 10**400}
    assert [dict(p.fields) for p in assembler.points(Info("pot", info), False, NOW_NS)] == [{"online": 1, "rssi": -60}]


def test_a_device_that_tells_about_itself_is_online(assembler: Assembler) -> None:
    """Its status comes once; a window of time that begins later must show it too."""
    points = assembler.points(Info("pot", {"rssi": "weak"}), False, NOW_NS)
    assert points == [Point("devices", (("device", "pot"),), {"online": 1}, NOW_NS)]


def test_a_pins_values_are_stored_with_every_message(assembler: Assembler) -> None:
    """Renewals draw the line on in Grafana."""
    points = [p for fact in (told(1), told(1), reported(1)) for p in assembler.points(fact, False, NOW_NS)]
    pins = [point for point in points if point.measurement == "pins"]
    assert [(point.tags, dict(point.fields)) for point in pins] == [
        (RED, {"desired": 1, "commanded": 1}),
        (RED, {"desired": 1, "commanded": 1}),
        (RED, {"reported": 1}),
    ]
    assert len({point.ts_ns for point in pins}) == 3


def test_a_change_says_who_made_it_and_a_renewal_says_nothing(assembler: Assembler) -> None:
    """Slot and source come from the command, also for the pin's report that it was followed."""
    assert actuations(assembler, told(1), reported(1), told(1, seq=6), reported(1, seq=6)) == [
        ("alert", {"value": 1, "source": "too-bright", "event": "desired"}),
        ("alert", {"value": 1, "source": "too-bright", "event": "reported"}),
    ]


def test_a_report_says_how_long_the_change_took(assembler: Assembler) -> None:
    """From the command that changed the value, whatever renewals came since; once."""
    assert took_s(assembler, told(1), 0) == [None]
    assert took_s(assembler, told(1, seq=6), 100) == []
    assert took_s(assembler, reported(1, seq=6), 100.25) == [100.25]
    assert took_s(assembler, reported(0, "boot"), 200) == [None]
    assert took_s(assembler, reported(1, seq=6), 200.5) == [None]


def test_of_a_command_from_before_the_start_it_is_not_known_how_long_it_took(assembler: Assembler) -> None:
    """A retained copy does not say when it came."""
    assembler.points(told(1), True, NOW_NS)
    assert took_s(assembler, reported(1), 5) == [None]


def test_a_release_is_a_change_without_a_value(assembler: Assembler) -> None:
    """The pin goes to its default, which the device reports with its own reason."""
    assembler.points(told(1), True, NOW_NS)
    assembler.points(reported(1), True, NOW_NS)
    assert actuations(assembler, told(None), reported(0, "released"), told(None)) == [
        ("none", {"source": "released", "event": "desired"}),
        ("device", {"value": 0, "source": "released", "event": "reported"}),
    ]


def test_a_released_pin_is_told_nothing_any_more(assembler: Assembler) -> None:
    """`commanded` 0: from then on its last desired value is no measure of what it reports."""
    points = [p for fact in (told(1), told(None), told(None)) for p in assembler.points(fact, False, NOW_NS)]
    pins = [dict(point.fields) for point in points if point.measurement == "pins"]
    assert pins == [{"desired": 1, "commanded": 1}, {"commanded": 0}, {"commanded": 0}]


@pytest.mark.parametrize("why", ["expired", "link-lost", "boot", "guard", "local"])
def test_what_a_device_does_by_itself_is_its_own(assembler: Assembler, why: str) -> None:
    """The slot of the last command is not to blame."""
    changes = actuations(assembler, told(1), reported(1), reported(0, why))
    assert changes[-1] == ("device", {"value": 0, "source": why, "event": "reported"})


def test_retained_copies_tell_the_state_from_which_changes_count(assembler: Assembler) -> None:
    """After a restart of the listener a renewal is still a renewal."""
    assembler.points(told(1), True, NOW_NS)
    assembler.points(reported(1), True, NOW_NS)
    assert actuations(assembler, told(1, seq=6), reported(1, seq=6)) == []
    assert len(actuations(assembler, told(0, seq=7), reported(0, seq=7))) == 2


def test_free_text_makes_no_series(assembler: Assembler) -> None:
    """A command of another program may say anything in `by`."""
    assert actuations(assembler, told(1, "Me, Myself = I")) == [
        ("other", {"value": 1, "source": "Me, Myself = I", "event": "desired"})
    ]
