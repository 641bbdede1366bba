"""What every store does the same: run on SQLite and on InfluxDB."""

import pytest

from store.errors import StoreError
from store.interface import Store
from store.points import Point

T0_S = 1763690000
NS = 10**9


def reading(device: str, t_s: float, n: int | None = None, boot: str = "k3f9", **sensors: float) -> Point:
    """Return a reading as the listener writes it."""
    known: dict[str, float | str] = {} if n is None else {"n": n, "boot": boot}
    return Point("readings", (("device", device),), {**sensors, **known}, T0_S * NS + round(t_s * NS))


def test_an_empty_store_answers_with_nothing(store: Store) -> None:
    """The hub may ask before the first reading came."""
    assert store.latest("pot") == {}
    assert store.series("pot", "pot", 0, T0_S, 1) == []
    assert store.devices() == []
    assert list(store.identities(10)) == []
    store.write([])


def test_latest_is_each_sensors_newest_value_with_its_time(store: Store) -> None:
    """Sensors are read at different times; samples' numbers are no sensors."""
    store.write([reading("pot", 0, 1, pot=1, slow=7), reading("pot", 1.5, 2, pot=2), reading("other", 9, 1, pot=3)])
    assert store.latest("pot") == {"pot": (2.0, T0_S + 1.5), "slow": (7.0, T0_S)}


def test_a_series_is_the_mean_of_each_step(store: Store) -> None:
    """Steps without readings are left out; the end is out, the start is in; others' readings are not seen."""
    store.write([reading("pot", t, pot=v) for t, v in [(0, 10), (1, 20), (2, 31), (9, 5), (10, 99)]])
    store.write([reading("pot", 3, other=1000), reading("pod", 3, pot=1000)])
    assert store.series("pot", "pot", T0_S, T0_S + 10, 2) == [(T0_S, 15.0), (T0_S + 2, 31.0), (T0_S + 8, 5.0)]


def test_a_step_may_be_a_fraction_of_a_second(store: Store) -> None:
    """The chart of the last seconds has more than one dot a second."""
    store.write([reading("pot", t, pot=t) for t in (0, 0.25, 0.5, 0.75)])
    assert store.series("pot", "pot", T0_S, T0_S + 1, 0.5) == [(T0_S, 0.125), (T0_S + 0.5, 0.625)]


def test_writing_again_changes_nothing(store: Store) -> None:
    """At-least-once delivery ends here."""
    points = [reading("pot", t, n=t, pot=t) for t in range(5)]
    store.write(points)
    store.write(points[2:])
    assert store.series("pot", "pot", T0_S, T0_S + 60, 1) == [(T0_S + t, float(t)) for t in range(5)]
    assert len(list(store.identities(100))) == 5


def test_fields_of_one_moment_are_merged(store: Store) -> None:
    """A point with another field of the same time keeps the fields that are there."""
    store.write([reading("pot", 0, a=1, b=2)])
    store.write([reading("pot", 0, b=3, c=4)])
    assert {sensor: value for sensor, (value, _) in store.latest("pot").items()} == {"a": 1, "b": 3, "c": 4}


def test_devices_are_known_by_any_point(store: Store) -> None:
    """A device that has said only that it is online is there, too."""
    store.write([reading("pot", 0, pot=1), Point("devices", (("device", "lamp"),), {"online": 1}, T0_S * NS)])
    assert store.devices() == ["lamp", "pot"]


def test_identities_are_each_devices_newest_numbered_readings(store: Store) -> None:
    """A busy device does not push out a quiet one; readings without a number have no identity."""
    store.write([reading("busy", t, n=t, boot="aaaa", x=0) for t in range(20)])
    store.write([reading("quiet", -500, n=3, boot="bbbb", y=0, a=0), reading("plain", 0, x=0)])
    assert sorted(store.identities(2)) == [
        ("busy", "aaaa", 18, "x"), ("busy", "aaaa", 19, "x"), ("quiet", "bbbb", 3, "a,y"),
    ]  # fmt: skip


def test_texts_and_several_tags_are_kept(store: Store) -> None:
    """An actuation with everything that a line must escape is taken as it is."""
    tags = (("device", "lights"), ("pin", "red"), ("slot", "alert"))
    store.write([Point("actuations", tags, {"value": 1, "source": 'too "bright" \\ = , ünd'}, T0_S * NS)])
    assert store.devices() == ["lights"]


def test_a_point_that_no_store_can_hold_is_refused_for_good_and_the_batch_with_it(store: Store) -> None:
    """The writer finds out which one it is."""
    with pytest.raises(StoreError) as caught:
        store.write([reading("pot", 0, pot=1), reading("pot", 1, pot=float("nan"))])
    assert caught.value.permanent
    assert store.latest("pot") == {}


def test_names_cannot_break_out_of_a_query(store: Store) -> None:
    """What people type into an address is data."""
    store.write([reading("pot", 0, pot=1)])
    for text in ("x' OR '1'='1", 'x" OR 1=1', "x\\' OR 1=1 --", "\n; DROP MEASUREMENT readings"):
        assert store.latest(text) == {}
        try:
            assert store.series("pot", text, 0, T0_S + 10, 1) == []
            assert store.series(text, "pot", 0, T0_S + 10, 1) == []
        except StoreError:
            pass  # refused: just as good
    assert store.devices() == ["pot"]
