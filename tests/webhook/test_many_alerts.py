"""Many alerts, and the same ones from several senders, through the webhook's own classes on a real database."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ContractError
from tests.support.wait import until
from tests.webhook.desk import NOW_S
from tests.webhook.world import World, simulated
from webhook.dialects import decode
from webhook.settings import Settings
from webhook.together import Together


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with simulated() as clock:
        opened = World(clock, tmp_path, {"lights": {"red": {}}}, {}, lambda: None, lambda *_: None, lambda: None)
        opened.start()
        opened.advance(2)
        yield opened
        opened.kill()


def body(alerts: int, status: str = "firing", **extra: Any) -> bytes:
    """Return a body of Grafana's with so many alerts, each for a pin of its own."""
    listed = [
        {
            "status": status,
            "labels": {"alertname": "Too warm", "actuate": f"bed-{number}/fan=1"},
            "annotations": {"summary": "31.2 degrees"},
            "startsAt": "2026-11-21T03:10:20Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": f"{number:016x}",
            "values": None,
            **extra,
        }
        for number in range(alerts)
    ]
    head = {"version": "1", "orgId": 1, "externalURL": "http://localhost:3000/", "state": "alerting"}
    return json.dumps({**head, "status": "firing", "alerts": listed, "truncatedAlerts": 0}).encode()


def test_ten_thousand_alerts_in_one_body_are_taken_in_whole(world: World) -> None:
    """One transaction: each has its claim, its command and its line in the answer."""
    assert world.webhook is not None
    answer = world.webhook.alerts.receive(body(10_000))
    assert {one["outcome"] for one in answer["results"]} == {"claimed"}
    assert len(answer["results"]) == answer["published"] == len(world.webhook.claims.all()) == 10_000


def test_a_body_of_ten_thousand_alerts_is_within_the_limit() -> None:
    """With the default of `body_max_bytes`."""
    assert len(body(10_000)) < Settings().body_max_bytes


def test_a_body_of_too_many_alerts_is_refused_before_it_takes_memory() -> None:
    """Two million of nothing fit into 4 MB: made into alerts they would be a gigabyte."""
    most = b'{"alerts":[' + b",".join([b"1"] * 20_000) + b"]}"
    assert len(decode(most, NOW_S).notifications) == 20_000
    started_s = time.monotonic()
    with pytest.raises(ContractError, match="2000000 are more than 20000") as refused:
        decode(b'{"alerts":[' + b",".join([b"1"] * 2_000_000) + b"]}", NOW_S)
    assert refused.value.reason == "alerts"
    assert time.monotonic() - started_s < 3  # 0.3 s; 10 s with all of them


def test_replicas_that_all_notify_make_one_command(world: World) -> None:
    """Grafana's HA pairs send the same alert 0 to 30 s apart, firing and resolved interleaved."""
    assert world.webhook is not None
    sent: list[bytes] = []
    publish = world.publish

    def noting(topic: str, payload: bytes, *, retain: bool = True) -> None:
        if topic.endswith("/set"):
            sent.append(payload)
        publish(topic, payload, retain=retain)

    world.publish = noting  # type: ignore[method-assign]
    outcomes = []
    told = [("firing", 0), ("firing", 15), ("firing", 15), ("resolved", 0), ("firing", 1), ("resolved", 15)]
    for status, pause_s in told:
        world.advance(pause_s)
        outcomes.append(world.webhook.alerts.receive(body(1, status))["results"][0]["outcome"])
    assert outcomes == ["claimed", "renewed", "renewed", "withdrawn", "stale", "duplicate"]
    assert len([payload for payload in sent if payload]) == 1 + len(_renewals(sent))
    assert sent[-1] == b""


def _renewals(sent: list[bytes]) -> list[bytes]:
    """Return the commands that only renew the lease of the one before."""
    values = [json.loads(payload)["v"] if payload else None for payload in sent]
    return [payload for index, payload in enumerate(sent) if index and values[index] == values[index - 1] and payload]


@pytest.mark.parametrize(
    "reason", ["MissingSeries", "NoData", "Error", "Error, KeepLast", "Paused", "RuleDeleted", "Updated"]
)
def test_every_reason_of_an_end_that_nobody_saw_is_unknown(reason: str) -> None:
    """Resolved, and the condition was not seen to end."""
    notified = decode(body(1, "resolved", annotations={"grafana_state_reason": reason}), NOW_S).notifications
    assert [(one.status, one.reason) for one in notified] == [("unknown", reason)]


def test_a_reason_while_it_fires_changes_nothing() -> None:
    """An alert that goes on although its data are gone (KeepLast) fires."""
    notified = decode(body(1, annotations={"grafana_state_reason": "NoData, KeepLast"}), NOW_S).notifications
    assert [one.status for one in notified] == ["firing"]


@pytest.mark.parametrize(
    "odd",
    [
        {"values": None, "valueString": None, "imageURL": None},
        {"values": {"B": -1, "C": -1}},
        {"values": [], "enrichments": {"deep": [{}]}, "brandNew": 1},
        {"annotations": None},
        {"annotations": {"summary": None, "number": 5}},
        {"labels": {"alertname": "Too warm", "actuate": "bed-0/fan=1", "empty": None}},
        {"endsAt": None, "generatorURL": None, "silenceURL": 7},
        {"fingerprint": None},
    ],
    ids=str,
)
def test_what_a_sender_adds_or_leaves_out_does_not_matter(odd: dict[str, Any]) -> None:
    """Unknown keys, nulls and sentinel values: status and labels count."""
    one = decode(body(1, **odd), NOW_S).notifications[0]
    assert (one.status, one.labels["actuate"]) == ("firing", "bed-0/fan=1")


@pytest.mark.parametrize("alerts", [b"null", b"[]"])
def test_a_body_without_alerts_is_taken_in_and_changes_nothing(alerts: bytes) -> None:
    """Go writes an empty list either way; the root's state says nothing."""
    decoded = decode(b'{"version":"1","state":"alerting","truncatedAlerts":null,"alerts":' + alerts + b"}", NOW_S)
    assert (decoded.dialect, decoded.notifications, decoded.truncated) == ("grafana", [], 0)


def test_who_asks_while_another_is_served_is_served_with_all_who_wait() -> None:
    """In the order in which they asked; each gets its own answer."""
    batches: list[list[int]] = []
    first_runs, go_on = threading.Event(), threading.Event()

    def carry_out(asked: Any) -> list[int]:
        batches.append(list(asked))
        if len(batches) == 1:
            first_runs.set()
            assert go_on.wait(5)
        return [number * 10 for number in asked]

    together: Together[int, int] = Together(carry_out)
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        answers[number] = together.ask(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    threads[0].start()
    assert first_runs.wait(5)
    for count, thread in enumerate(threads[1:], 1):
        thread.start()
        while len(together._waiting) < count:  # the next one asks after this one
            pass
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert batches == [[0], [1, 2, 3, 4]]
    assert answers == {number: number * 10 for number in range(5)}


def test_one_that_fails_does_not_take_the_others_with_it() -> None:
    """What was asked for together and failed is tried one by one."""

    first_runs, go_on = threading.Event(), threading.Event()

    def carry_out(asked: Any) -> list[int]:
        if asked == [0]:
            first_runs.set()
            assert go_on.wait(5)
        if 3 in asked:
            raise OSError("disk full")
        return list(asked)

    together: Together[int, int] = Together(carry_out)
    results: dict[int, object] = {}

    def ask(number: int) -> None:
        try:
            results[number] = together.ask(number)
        except OSError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in (0, 1, 3, 2)]
    threads[0].start()
    assert first_runs.wait(5)
    for thread in threads[1:]:
        thread.start()
    while len(together._waiting) < 3:
        pass
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert results == {0: 0, 1: 1, 3: "disk full", 2: 2}


def test_an_error_that_is_common_to_all_is_not_tried_one_by_one() -> None:
    """A database that another process locks would let each of them wait, one after the other."""
    tries: list[list[int]] = []
    first_runs, go_on = threading.Event(), threading.Event()

    def carry_out(asked: Any) -> list[int]:
        tries.append(list(asked))
        first_runs.set()
        assert go_on.wait(5)
        raise OSError("locked")

    together: Together[int, int] = Together(carry_out, common=lambda _error: True)
    failed: list[int] = []

    def ask(number: int) -> None:
        try:
            together.ask(number)
        except OSError:
            failed.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    threads[0].start()
    assert first_runs.wait(5)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(together._waiting) == 3)
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert [len(one) for one in tries] == [1, 3]
    assert sorted(failed) == [0, 1, 2, 3]
