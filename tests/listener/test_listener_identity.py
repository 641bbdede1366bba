"""Recognising redelivered samples, and giving samples their time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.identity import Identities, asked_per_device, together
from listener.sharing import SLOTS
from listener.stamps import Stamps

NOW_S = 1763690000
NOW_NS = NOW_S * 10**9


@given(st.lists(st.tuples(st.sampled_from(["aaaa", "bbbb"]), st.integers(0, 40) | st.integers(0, 2**53)), max_size=80))
def test_every_sample_is_new_exactly_once(arrivals: list[tuple[str, int]]) -> None:
    """Against a model that remembers everything, in any order, with jumps of any size, also when kept and read back."""
    identities = Identities()
    seen: set[tuple[str, int]] = set()
    for boot, n in arrivals:
        assert identities.known("pot", boot, n, "pot") == ((boot, n) in seen)
        assert identities.first_time("pot", boot, n, "pot") == ((boot, n) not in seen)
        seen.add((boot, n))
    for one in (identities, Identities.of(identities.pieces())):
        assert sorted(one) == sorted(("pot", boot, n, "pot") for boot, n in seen)


def test_a_sample_is_recognised_however_many_later_ones_came() -> None:
    """A device's own burst must not push out what the broker has yet to bring again."""
    identities = Identities()
    assert all(identities.first_time("pot", "k3f9", n, "pot") for n in range(100_000))
    assert not any(identities.first_time("pot", "k3f9", n, "pot") for n in range(100_000))


def test_what_many_devices_sent_is_forgotten_from_the_longest_unused_on() -> None:
    """Memory has a bound; a device that goes on is not forgotten for a stranger's many starts."""
    identities = Identities()
    for n in range(25_000):
        identities.first_time("stranger", str(n), 1, "pot")
        identities.first_time("pot", "k3f9", n % 2000, "pot")
    assert len(identities.pieces()) == 20_000
    assert identities.first_time("stranger", "0", 1, "pot")
    assert not identities.first_time("pot", "k3f9", 7, "pot")


def test_many_sensors_together_have_a_short_text_of_their_own() -> None:
    """Whatever their order, and given as such a text, long or short; two kilobytes in each identity would add up."""
    names = [f"sensor_{number:02}" for number in range(64)]
    text = together(names)
    assert len(text) < 70
    assert text == together(names[::-1]) == together(",".join(names)) == together(text)
    assert text != together(names[1:])
    assert together(["b", "a"]) == "a,b"


def test_what_an_earlier_version_kept_on_disk_is_recognised() -> None:
    """It spelled all sensors out."""
    names = [f"sensor_{number:02}" for number in range(64)]
    identities = Identities.of([(("pot", "k3f9", ",".join(names), 0), (1 << 7).to_bytes(256, "little"))])
    assert not identities.first_time("pot", "k3f9", 7, together(names))


@pytest.mark.parametrize(("devices", "most"), [(0, 8192), (1, 8192), (100, 4000), (10_000, 512)])
def test_a_store_is_asked_for_what_the_broker_may_bring_again(devices: int, most: int) -> None:
    """All of it from one device; of a fleet, what can be read within seconds."""
    assert asked_per_device(devices) == most


def test_devices_and_starts_are_apart() -> None:
    """The same number of another device, or after a restart, is another sample."""
    identities = Identities()
    assert all(identities.first_time(device, boot, 1, "pot") for device in "ab" for boot in ("x", "y"))


def test_the_devices_time_is_kept_when_plausible() -> None:
    """Microseconds of the device, and below them the sample's number: the same for a redelivery years later."""
    first, later = Stamps(), Stamps()
    stamp = first.stamp("pot", NOW_NS, NOW_S - 3600.25, 17)
    assert stamp == (NOW_S - 3600) * 10**9 - 250_000_000 + 17
    assert later.stamp("pot", NOW_NS * 2, NOW_S - 3600.25, 17) == stamp


def test_an_implausible_time_is_replaced_by_that_of_receipt() -> None:
    """A clock that was never set, one that is days ahead, and none."""
    for t_s in (0.0, 946684800.0, NOW_S + 2 * 86400.0, 1e300, None):
        assert Stamps().stamp("pot", NOW_NS, t_s, 3) == NOW_NS


def test_a_clock_that_is_an_hour_ahead_is_believed_and_moves_nothing_else() -> None:
    """Times of receipt are the listener's own."""
    stamps = Stamps()
    assert stamps.stamp("pot", NOW_NS, NOW_S + 3600.0) == NOW_NS + 3600 * 10**9
    assert stamps.stamp("pot", NOW_NS) == NOW_NS


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=50))
def test_times_of_receipt_only_grow(steps: list[int]) -> None:
    """Also when the listener's clock is set back."""
    stamps, now_ns, last = Stamps(), NOW_NS, 0
    for step in steps:
        now_ns += step
        stamp = stamps.stamp("pot", now_ns)
        assert stamp > last
        last = stamp


def test_a_burst_with_one_time_of_a_coarse_clock_keeps_every_sample() -> None:
    """Many boards know whole seconds only."""
    stamps = Stamps()
    assert len({stamps.stamp("pot", NOW_NS, float(NOW_S)) for _ in range(500)}) == 500
    assert len({stamps.stamp("pot", NOW_NS, float(NOW_S), n) for n in range(500)}) == 500


def test_a_sample_that_waited_in_a_device_without_a_clock_has_the_time_at_which_it_was_taken() -> None:
    """Receipt less its age; the device's own time counts more."""
    stamps = Stamps()
    assert [stamps.stamp("pot", NOW_NS, None, n, 60) for n in (1, 2)] == [NOW_NS - 60 * 10**9 + n for n in (1, 2)]
    assert stamps.stamp("pot", NOW_NS, NOW_S - 30.0, 3, 60) == NOW_NS - 30 * 10**9 + 3
    assert stamps.stamp("pot", NOW_NS, None, 4, 10**15) > 0
    assert stamps.stamp("pot", NOW_NS, None, 5) == NOW_NS


def test_times_of_receipt_come_back_when_the_listeners_clock_was_far_ahead() -> None:
    """Once set right, it must not stamp readings a day ahead until its next start."""
    stamps = Stamps()
    stamps.stamp("pot", NOW_NS + 86400 * 10**9)
    assert stamps.stamp("pot", NOW_NS) == NOW_NS


def test_listeners_that_share_give_a_burst_with_one_time_different_times() -> None:
    """A point replaces another of the same device and time; a numbered sample has one time, whoever stores it."""
    stamps = [Stamps(slot) for slot in range(SLOTS)]
    assert len({one.stamp("pot", NOW_NS, float(NOW_S)) for one in stamps for _ in range(50)}) == 50 * SLOTS
    assert len({one.stamp("pot", NOW_NS, float(NOW_S), 7) for one in stamps}) == 1
