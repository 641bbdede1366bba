"""The numbered feed."""

from hub.feed import Feed


def test_it_gives_a_reader_what_came_after_its_number() -> None:
    """Each reader keeps its own place."""
    feed = Feed(lambda: 1.0)
    feed.add("reading", {"value": 1})
    feed.add("reading", {"value": 2})
    assert [event.body for event in feed.after(1) or []] == ['{"value":2}']
    assert feed.after(2) == []


def test_it_tells_a_reader_that_is_too_far_behind() -> None:
    """Events that are no longer kept cannot be given: the reader has to start again."""
    feed = Feed(lambda: 1.0, most=2)
    for value in range(4):
        feed.add("reading", {"value": value})
    assert feed.after(1) is None
    assert len(feed.after(2) or []) == 2
    assert feed.after(9) is None  # a number from the future is of no use either


def test_it_recognises_ids_of_an_earlier_process() -> None:
    """Numbers begin again with each start; the name before them tells the starts apart."""
    before, now = Feed(lambda: 1_700_000_000.0), Feed(lambda: 1_700_000_001.0)
    assert now.number_of(now.id_of(7)) == 7
    for foreign in (before.id_of(7), "", "7", now.name + "-", now.name + "-x", now.name + "-" + "9" * 40):
        assert now.number_of(foreign) is None


def test_closing_lets_every_reader_go() -> None:
    """A stopping service does not wait for its streams."""
    feed = Feed(lambda: 1.0)
    feed.close()
    feed.wait(0, 60)
    assert feed.closed
