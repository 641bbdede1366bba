"""The clock was put back while the webhook was stopped: no run, pause or claim lasts until it has caught up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.webhook.test_holds import BACK, MAIN, Guarded
from webhook.arbiter import PERSON, Claim
from webhook.clock import follow_back
from webhook.guards import Limits

DAY_S = 86400.0


@pytest.fixture
def put_back(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Return `put_back(limits, act)`: a webhook that starts again with a clock a day behind, after `act`."""
    opened: list[Guarded] = []

    def make(limits: Limits, act: Callable[[Guarded], object]) -> Guarded:
        opened.append(Guarded(tmp_path / "claims.db", {MAIN: limits, BACK: Limits()}).open())
        act(opened[-1])
        opened[-1].now_s -= DAY_S
        opened[-1].restart()
        assert follow_back(opened[-1].database, opened[-1].claims, opened[-1].now_s) == pytest.approx(-DAY_S)
        assert follow_back(opened[-1].database, opened[-1].claims, opened[-1].now_s) == 0
        return opened[-1]

    yield make
    for one in opened:
        one.database.close()


def test_min_on_does_not_keep_a_pin_on_until_tomorrow(put_back: Callable[..., Guarded]) -> None:
    """It has been on for its minute by the new clock, too."""
    world = put_back(Limits(min_on_s=60), lambda before: before.fire("a"))
    world.later(61)
    world.end("a")
    assert world.value() is None


def test_max_on_ends_a_run_by_the_new_clock(put_back: Callable[..., Guarded]) -> None:
    """Its start lies no longer in the future."""
    world = put_back(Limits(max_on_s=900), lambda before: before.fire("a"))
    world.later(901)
    assert (world.value(), world.held()) == (0, ("max_on_s", None))


def test_a_persons_half_hour_stays_one(put_back: Callable[..., Guarded]) -> None:
    """Nobody finds a pin on tomorrow that was to be on for half an hour."""

    def held(before: Guarded) -> None:
        before.claims.hold(Claim(*MAIN, PERSON, 1, "manual", "ana", before.now_s, before.now_s + 1800), before.now_s)

    world = put_back(Limits(), held)
    world.claims.expire(world.now_s + 1799)
    assert world.value() == 1
    world.claims.expire(world.now_s + 1801)
    assert world.value() is None


def test_a_clock_that_goes_on_moves_nothing(tmp_path: Path) -> None:
    """Neither does an empty database."""
    world = Guarded(tmp_path / "claims.db", {MAIN: Limits(min_on_s=60)}).open()
    assert follow_back(world.database, world.claims, world.now_s) == 0
    world.fire("a")
    assert follow_back(world.database, world.claims, world.now_s + 3600) == 0
    world.database.close()
