"""The listener's figures of delivery and of what comes over HTTP move when they should."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store import StoreError
from tests.inputs.test_gateways import Desk
from tests.support.deliveries import DOWN, Bench, Memory, batch, benched, figure, influx, point
from tests.support.influx_standin import standing_in
from tests.support.wait import until


class Moved:
    """How much a figure has grown since this was made."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels, self._before = name, labels, figure(name, **labels)

    def by(self) -> float:
        return figure(self._name, **self._labels) - self._before


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose deliveries have ended when the test has."""
    yield from benched(tmp_path, monkeypatch)


def test_a_write_is_counted_by_what_became_of_it(bench: Bench) -> None:
    """Stored with its time and points, refused for good with its dead letter, failed for now with what was spooled."""
    writes = {one: Moved("listener_writes_total", outcome=one) for one in ("stored", "transient", "permanent")}
    points, seconds = (
        Moved("listener_points_stored_total", measurement="readings"),
        Moved("listener_write_seconds_count"),
    )
    letters, spooled = Moved("listener_dead_letters_total"), Moved("listener_spooled_points_total")
    with standing_in("1.8") as server:
        delivery = bench.start(influx(server))
        delivery.deliver(batch(point(1), point(2), point(3)))
        assert (writes["stored"].by(), points.by(), seconds.by()) == (1, 3, 1)
        delivery.deliver(batch(point(4, "bad")))
        assert (writes["permanent"].by(), letters.by(), points.by()) == (1, 1, 3)
        server.next.append((503, {}))
        delivery.deliver(batch(point(5), point(6)))
        assert (writes["transient"].by(), spooled.by()) == (1, 2)
        until(lambda: points.by() == 5, 5, "the spool is written")
        assert seconds.by() == writes["stored"].by() == 2


def test_a_second_stores_points_are_counted_by_its_name(bench: Bench) -> None:
    """And not among those of the main store; what it lacks is shown until it has it."""
    main = Moved("listener_points_stored_total", measurement="readings")
    second = Moved("listener_second_points_total", store="cloud")
    cloud = Memory()
    cloud.fails = DOWN
    delivery = bench.start(Memory(), {"cloud": cloud})
    delivery.deliver(batch(point(1), point(2)))
    until(lambda: figure("listener_spool_behind_bytes", store="cloud") > 0, 5, "it lacks them")
    assert (main.by(), second.by(), figure("listener_store_up", store="cloud")) == (2, 0, 0)
    cloud.fails = None
    until(lambda: second.by() == 2, 5, "it has them")
    until(lambda: figure("listener_spool_behind_bytes", store="cloud") == 0, 5, "and lacks nothing")
    assert figure("listener_store_up", store="cloud") == 1


def test_nobody_takes_points_is_shown_until_somebody_does(bench: Bench) -> None:
    """A store that only asks for time, with what it asks for, is no reason to give anything up."""
    main = Memory()
    main.fails = StoreError("busy", status=429, retry_after_s=0.01)
    delivery = bench.start(main, news=False)
    delivery.deliver(batch(point(1)))
    assert figure("listener_store_up", store="main") == 0
    main.fails = None
    until(lambda: main.order == [1], 5, "it is stored")
    until(lambda: figure("listener_store_up", store="main") == 1, 5, "and shown to work")


def test_requests_of_gateways_are_counted_with_their_items() -> None:
    """By status, and by what became of each item; an unknown device counts with every item of it."""
    desk = Desk().open()
    good, bad = (Moved("listener_gateway_posts_total", status=status) for status in ("200", "401"))
    items = [Moved("listener_gateway_items_total", outcome=one) for one in ("stored", "unknown", "rejected")]
    known, strange = {"name": "cc", "x": 1}, {"name": "who", "x": 1}
    desk.post({"name": "gw", "data": [known, strange, strange, {"name": "cc"}]})
    desk.post({}, token="wrong")
    desk.queue.close()
    assert (good.by(), bad.by()) == (1, 1)
    assert [one.by() for one in items] == [1, 2, 1]
