"""The poster against a real HTTP receiver: at once, on one connection, nothing lost, nothing stale."""

import json
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from rules import metrics
from rules.alerts import Alert, ended
from rules.evaluate import FIRING, RESOLVED
from rules.poster import Poster
from tests.rules.receiver import PASSWORD, Receiver
from tests.support.wait import until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def delivered() -> list[Alert]:
    return []


@pytest.fixture
def stale() -> list[Alert]:
    return []


@pytest.fixture
def make(receiver: Receiver, delivered: list[Alert], stale: list[Alert]) -> Iterator[Callable[..., Poster]]:
    """Return `make(password=...)`: a started poster that is stopped when the test ends."""
    posters: list[Poster] = []

    def start(password: str = PASSWORD) -> Poster:
        posters.append(Poster(receiver.url, "alerts", password, delivered.extend, stale.extend))
        posters[-1].start()
        return posters[-1]

    yield start
    for poster in posters:
        poster.stop()


def alert(device: str, starts_at_s: float = 1_790_000_000.0) -> Alert:
    return Alert(("too-bright", device), FIRING, starts_at_s, None, "", {"device": device}, {"summary": ""})


def put(poster: Poster, *alerts: Alert) -> None:
    poster.put(alerts, time.monotonic())


def seen(receiver: Receiver) -> Sequence[tuple[str, str]]:
    return [(one["labels"]["device"], one["status"]) for one in receiver.alerts]


def test_each_change_is_posted_at_once_on_one_connection(make, receiver: Receiver, delivered: list[Alert]):
    """No batching delay, no connection per request."""
    poster = make()
    delays_ms = []
    for index in range(50):
        since_s = time.monotonic()
        put(poster, alert(f"d{index}"))
        until(lambda: len(receiver.bodies) > index, every_s=0.0002)  # noqa: B023  (called at once)
        delays_ms.append((receiver.came_s[-1] - since_s) * 1000)
    # About 0.5 on an idle machine; Nagle's algorithm or a sleep would show in every single one.
    assert sorted(delays_ms)[12] < 20, delays_ms
    assert len(receiver.connections) == 1
    until(lambda: len(delivered) == 50)


def test_while_the_webhook_is_away_only_the_newest_of_each_alert_is_kept(make, receiver: Receiver, delivered):
    """What was over by the time it came back is not sent."""
    poster = make()
    receiver.stop()
    first = alert("a")
    put(poster, first, alert("b"))
    until(lambda: poster.problem)
    put(poster, ended(first, RESOLVED, first.starts_at_s + 1))
    put(poster, alert("a", first.starts_at_s + 2))
    put(poster, alert("c"))
    put(poster, ended(alert("c"), RESOLVED, first.starts_at_s + 3))
    receiver.start()
    until(lambda: len(receiver.alerts) == 3, what="what stands")
    assert sorted(seen(receiver)) == [("a", "firing"), ("b", "firing"), ("c", "resolved")]
    assert next(one for one in receiver.alerts if one["labels"]["device"] == "a")["startsAt"].endswith("22.000Z")
    until(lambda: poster.problem is None and len(delivered) == 3)


def test_a_connection_that_the_server_closed_is_replaced_without_a_delay(make, receiver: Receiver, delivered):
    """Servers close idle connections; the next alert must not pay for it."""
    poster = make()
    put(poster, alert("a"))
    until(lambda: len(delivered) == 1)  # the answer is read: the connection is idle
    receiver.cut()
    time_s = time.monotonic()
    put(poster, alert("b"))
    until(lambda: len(receiver.alerts) == 2)
    assert time.monotonic() - time_s < 1
    assert len(receiver.connections) == 2


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_it_goes_on_trying_until_the_webhook_takes_it(make, receiver: Receiver, status: int):
    """A wrong password is mended by somebody; what the alert says counts then too."""
    receiver.status = status
    poster = make()
    put(poster, alert("a"))
    until(lambda: receiver.asked >= 2, what="a second try")
    assert f"answers {status}" in poster.problem
    receiver.status = 200
    until(lambda: seen(receiver) == [("a", "firing")])
    until(lambda: poster.problem is None)


def test_a_wrong_password_is_told(make, receiver: Receiver):
    """In /readyz."""
    poster = make("wrong")
    put(poster, alert("a"))
    until(lambda: poster.problem)
    assert "answers 401" in poster.problem


@pytest.mark.parametrize("status", [400, 413])
def test_a_body_that_is_refused_for_good_does_not_stop_the_others(make, receiver: Receiver, delivered, status: int):
    """It is counted and logged; a firing alert comes again with its next repetition."""
    receiver.status = status
    poster = make()
    put(poster, alert("a"))
    until(lambda: receiver.asked == 1)
    receiver.status = 200
    put(poster, alert("b"))
    until(lambda: seen(receiver) == [("b", "firing")])
    until(lambda: len(delivered) == 1)


def test_many_alerts_at_once_go_in_requests_of_bounded_size(make, receiver: Receiver, delivered):
    """The webhook takes no more than 1 MB."""
    poster = make()
    put(poster, *[alert(f"d{index}") for index in range(450)])
    until(lambda: len(delivered) == 450)
    assert max(len(body["alerts"]) for body in receiver.bodies) <= 200


def test_stopping_tries_once_more_and_does_not_hang(make, receiver: Receiver):
    """What could not be sent is in the state database."""
    poster = make()
    receiver.stop()
    put(poster, alert("a"))
    until(lambda: poster.problem)
    began_s = time.monotonic()
    poster.stop()
    assert time.monotonic() - began_s < 2


def test_an_answer_that_is_not_the_webhooks_is_taken_as_delivered(make, receiver: Receiver, delivered):
    """Other receivers of Alertmanager's format answer what they like."""
    receiver.answer = b"ok"
    put(make(), alert("a"))
    until(lambda: len(delivered) == 1)


def test_what_the_webhook_takes_and_ignores_is_logged_with_its_reason(make, receiver: Receiver, delivered, capsys):
    """An unknown slot, a pin that is none: nothing else would show why nothing happens."""
    one = alert("a")
    receiver.answer = json.dumps(
        {"results": [{"fingerprint": one.fingerprint, "outcome": "ignored", "reason": "actuate: is missing"}]}
    ).encode()
    put(make(), one)
    until(lambda: len(delivered) == 1)
    assert "actuate: is missing" in capsys.readouterr().out


def test_a_firing_alert_that_is_stale_to_the_webhook_is_told_counted_and_not_delivered(
    make, receiver: Receiver, delivered, stale, capsys
):
    """Nothing switches; of an alert that has ended it is no news."""
    before = metrics.NOTIFICATIONS.labels(metrics.STALE)._value.get()
    fires, over = alert("a"), ended(alert("b"), RESOLVED, 1_790_000_001.0)
    receiver.answer = json.dumps(
        {"results": [{"fingerprint": one.fingerprint, "outcome": "stale"} for one in (fires, over)]}
    ).encode()
    put(make(), fires, over)
    until(lambda: stale == [fires])
    assert delivered == [over]
    assert metrics.NOTIFICATIONS.labels(metrics.STALE)._value.get() == before + 1
    assert "stale to the webhook" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b'{"results":[{"reason":"\xff"}]}', b"[" * 100_000, b'{"results":1}']
)
def test_whatever_is_answered_the_next_alert_is_posted(make, receiver: Receiver, delivered: list[Alert], answer: bytes):
    """A proxy may answer 200 with a page of its own, in an encoding of its own."""
    receiver.answer = answer
    poster = make()
    for number in range(2):
        put(poster, alert(f"d{number}"))
        until(lambda number=number: len(delivered) == number + 1, 5, "it is delivered")
    assert len(receiver.bodies) == 2


def test_a_bug_in_one_delivery_does_not_end_the_posting(receiver: Receiver):
    """It is told and tried again: a resolved alert that nobody posts leaves a pin on until its claim expires."""
    taken: list[Sequence[Alert]] = []

    def failing_once(alerts: Sequence[Alert]) -> None:
        taken.append(alerts)
        if len(taken) == 1:
            raise KeyError("a bug")

    poster = Poster(receiver.url, "alerts", PASSWORD, failing_once, lambda _alerts: None)
    poster.start()
    try:
        put(poster, alert("d"))
        until(lambda: len(taken) == 2, 5, "it is posted again")
        until(lambda: poster.problem is None, 5, "and told to be well")
    finally:
        poster.stop()
    assert seen(receiver) == [("d", "firing")] * 2
