"""Clocks of devices: seconds since the start are placed, a clock that was put back does not reorder."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from contract.readings import Sample
from listener.assemble import Assembler
from listener.clocks import DEVICE, RECEIPT, UPTIME, Clocks
from listener.decode import Readings

NOW_S = 1763690000


def settled(clocks: Clocks, uptimes: Sequence[float | None], received_s: float, **more: object) -> list[float | None]:
    """Return the times of a delivery, relative to NOW_S."""
    samples = [Sample({"x": 1.0}, uptime) for uptime in uptimes]
    found, _ = clocks.settle("d", samples, round((NOW_S + received_s) * 1e9))
    return [None if one.t_s is None else round(one.t_s - NOW_S, 1) for one in found]


def test_the_newest_sample_of_a_delivery_was_just_read() -> None:
    """The others are as much older as their uptime says."""
    assert settled(Clocks(), [2696, 2706, 2716], 0) == [-20, -10, 0]


def test_a_late_delivery_does_not_move_the_start() -> None:
    """A start, once known, is kept: lateness only ever adds."""
    clocks = Clocks()
    assert settled(clocks, [100], 0) == [0]
    assert settled(clocks, [110], 40) == [10]
    assert settled(clocks, [150], 50.01) == [50]


def test_an_earlier_estimate_of_the_start_is_the_better_one() -> None:
    """The first message may have been the late one."""
    clocks = Clocks()
    assert settled(clocks, [100], 30) == [30]
    assert settled(clocks, [110], 15) == [15]
    assert settled(clocks, [130], 60) == [35]


def test_a_device_that_started_again_is_placed_anew() -> None:
    """Its uptime is small again; it began after its last sample."""
    clocks = Clocks()
    assert settled(clocks, [5000], 0) == [0]
    assert settled(clocks, [5], 20) == [20]
    assert settled(clocks, [15], 30) == [30]


def test_a_start_within_one_delivery_is_found() -> None:
    """The earlier run keeps its known place; an unknown one ended when the next began."""
    clocks = Clocks()
    assert settled(clocks, [5000], 0) == [0]
    assert settled(clocks, [5010, 5020, 5, 15], 60) == [10, 20, 50, 60]
    assert settled(Clocks(), [5010, 5020, 5, 15], 60) == [35, 45, 50, 60]


def test_a_device_that_was_away_for_long_is_placed_anew() -> None:
    """Its start seems to be later by more than a message is ever late."""
    clocks = Clocks()
    assert settled(clocks, [10], 0) == [0]
    assert settled(clocks, [500], 5000) == [5000]


def test_a_slow_clock_is_followed() -> None:
    """A crystal that is off by 0.02 % loses 17 s a day."""
    clocks = Clocks()
    settled(clocks, [0], 0)
    last = 0.0
    for hour in range(1, 49):
        last = settled(clocks, [hour * 3600 * 0.9998], hour * 3600)[0] or 0.0
    assert abs(last - 48 * 3600) < 2


@given(st.lists(st.lists(st.floats(0, 1e6) | st.none(), min_size=1, max_size=5), max_size=6))
def test_no_placed_time_is_after_its_receipt(deliveries: list[list[float | None]]) -> None:
    """Whatever the device counts."""
    clocks = Clocks()
    for number, uptimes in enumerate(deliveries):
        for uptime, time in zip(uptimes, settled(clocks, uptimes, number * 10), strict=True):
            assert (time is None) == (uptime is None)
            assert time is None or time <= number * 10 + 0.1


def points(assembler: Assembler, sample: Sample, received_s: float) -> list[tuple[int, dict[str, float | str]]]:
    """Return (seconds after NOW_S, fields) of the readings."""
    made = assembler.points(Readings("d", [sample]), False, round((NOW_S + received_s) * 1e9))
    return [(one.ts_ns // 10**9 - NOW_S, dict(one.fields)) for one in made if one.measurement == "readings"]


def test_a_clock_that_was_put_back_does_not_reorder() -> None:
    """Until it has caught up its samples have the time of receipt."""
    assembler = Assembler(64)
    offsets = [0, 10, -3580, -3570, 40]  # what the device's clock says; sample by sample 10 s apart
    times = [
        points(assembler, Sample({"x": 1.0}, NOW_S + offset, n, "b"), n * 10)[0][0] for n, offset in enumerate(offsets)
    ]
    assert times == [0, 10, 20, 30, 40]


def test_a_back_fill_keeps_its_own_times() -> None:
    """Older samples that come later are where they belong."""
    assembler = Assembler(64)
    assert points(assembler, Sample({"x": 1.0}, NOW_S, 100, "b"), 0)[0][0] == 0
    assert points(assembler, Sample({"x": 1.0}, NOW_S - 3000, 7, "b"), 1)[0][0] == -3000
    assert points(assembler, Sample({"x": 1.0}, NOW_S - 2000), 2)[0][0] == -2000


def test_it_is_noted_where_a_devices_times_come_from() -> None:
    """At the first sample, when it changes, and once a day."""
    clocks = Clocks()

    def note(t_s: float | None, received_s: float) -> str:
        ns = round((NOW_S + received_s) * 1e9)
        _, source = clocks.settle("d", [Sample({"x": 1.0}, t_s)], ns)
        return source if clocks.mark("d", source, ns) else ""

    assert note(None, 0) == RECEIPT
    assert note(None, 1) == ""
    assert note(NOW_S + 2, 2) == DEVICE
    assert note(17, 3) == UPTIME
    assert note(18, 4) == ""
    assert note(NOW_S + 1e9, 5) == RECEIPT
    assert note(None, 90000) == RECEIPT
