"""Dry-run: everything but the publish."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Client
from tests.support.wait import until
from tests.webhook.desk import NOW_S, PIN, notice
from webhook.claims import Claims
from webhook.commands import Commands
from webhook.database import Database
from webhook.dialects import RESOLVED
from webhook.publisher import payload_of
from webhook.survey import drift_since_s


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[[bool], tuple[Claims, Commands]]]:
    """Return `reopen(dry_run)`: the webhook's claims and commands, after a restart in that mode."""
    opened: list[Database] = []

    def make(dry_run: bool) -> tuple[Claims, Commands]:
        while opened:
            opened.pop().close()
        opened.append(Database(tmp_path / "claims.db"))
        commands = Commands(opened[0], 300, dry_run=lambda _pin: dry_run)
        return Claims(opened[0], commands, lambda _pin: 0, {}, 300), commands

    yield make
    opened.pop().close()


def test_what_would_have_been_sent_is_decided_and_logged(reopen: Callable[..., tuple[Claims, Commands]]) -> None:
    """With its claim and cause; it is never renewed, and never counts as drift."""
    claims, commands = reopen(True)
    sent = claims.notify([notice()], NOW_S)[1]
    assert [(one.value, one.dry_run, payload_of(one, "e")) for one in sent] == [(1, True, b"")]
    assert claims.reissue([PIN], NOW_S + 1) == []
    assert commands.due(NOW_S + 10_000, 9) == []
    assert drift_since_s(commands.of(PIN), None) is None
    claims.notify([notice(RESOLVED)], NOW_S + 2)
    log = [(one["value"], one["reason"], one["dry_run"], one["acked_s"]) for one in commands.log(0, 0, None, 9)]
    assert log == [(1, "f1: claimed", 1, None), (None, "f1: withdrawn", 1, None)]


def test_switching_dry_run_off_sends_what_the_claims_say_then(reopen: Callable[..., tuple[Claims, Commands]]) -> None:
    """And switching it on is in the log, too."""
    claims, _ = reopen(False)
    claims.notify([notice()], NOW_S)
    claims, commands = reopen(True)
    assert [one.dry_run for one in claims.adopt(NOW_S + 1)] == [True]
    assert claims.adopt(NOW_S + 2) == []
    claims, commands = reopen(False)
    sent = claims.adopt(NOW_S + 3)
    assert [(one.value, one.dry_run) for one in sent] == [(1, 0)]
    commands.acknowledge([(PIN, sent[0].seq, NOW_S + 4)])
    log = [(one["reason"], one["dry_run"], one["acked_s"]) for one in commands.log(0, 0, None, 9)]
    assert log == [
        ("f1: claimed", False, None),
        ("dry-run was switched: released", False, None),
        ("dry-run was switched", True, None),
        ("dry-run was switched", False, NOW_S + 4),
    ]


def test_what_is_only_rehearsed_holds_no_pin(reopen: Callable[..., tuple[Claims, Commands]]) -> None:
    """Neither a command that was never sent nor its end, so that nobody ends it at a device of other firmware."""
    claims, commands = reopen(True)
    assert not commands.may_hold(PIN)
    for said in (notice(), notice(RESOLVED)):
        claims.notify([said], NOW_S)
        assert not commands.may_hold(PIN)


def test_what_was_sent_before_dry_run_holds_its_pin_until_the_device_says_otherwise(
    reopen: Callable[..., tuple[Claims, Commands]],
) -> None:
    """Whatever is rehearsed meanwhile, over restarts; and again from the first command after it."""
    claims, commands = reopen(False)
    claims.notify([notice()], NOW_S)
    claims, commands = reopen(True)
    assert commands.may_hold(PIN)  # before anything was decided
    claims.adopt(NOW_S + 1)
    claims.notify([notice(RESOLVED)], NOW_S + 2)
    claims, commands = reopen(True)
    assert commands.may_hold(PIN)
    commands.report(PIN, 0, None, NOW_S + 3)
    assert not commands.may_hold(PIN)
    claims.notify([notice(starts_at=NOW_S + 4)], NOW_S + 4)
    assert not commands.may_hold(PIN)
    claims, commands = reopen(False)
    claims.adopt(NOW_S + 5)
    assert commands.may_hold(PIN)


def test_a_pin_in_dry_run_is_released_once_and_then_left_alone(
    make_webhook: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    """Nobody stands behind its last command; other pins go on, and it is visible everywhere."""
    pins = tmp_path / "pins.yml"
    pins.write_text("version: 1\npins:\n  lights/red:\n    dry_run: true\n")
    webhook = make_webhook(reconcile_s=0.3).start()
    webhook.alert("a", "lights/red=1,lights/green=1")
    webhook.kill()
    red = client.collect("pinloop/lights/pin/red/set")
    red.until(lambda message: message.payload)
    rehearsing = make_webhook(reconcile_s=0.3, pins_path=pins).start()
    red.until(lambda message: not message.payload)
    assert rehearsing.alert("b", "lights/red=5,lights/green=5")["published"] == 1
    facts = rehearsing.pin("lights", "red")
    assert (facts["dry_run"], facts["command"]["value"], facts["drift_s"]) == (True, 5, None)
    assert "dry-run" in rehearsing.call("GET", "/pins/lights/red/why")[1]["text"]
    assert rehearsing.call("GET", "/readyz")[1]["warnings"] == {"dry_run": "no command is sent to lights/red"}
    assert rehearsing.metric("webhook_dry_run_commands_total") >= 1
    client.publish("pinloop/lights/pin/red/set", b'{"v":1,"seq":5,"epoch":"other"}', retain=True)
    green = client.collect("pinloop/lights/pin/green/set")
    green.until(lambda message: message.payload)
    client.publish("pinloop/lights/pin/green/set", b"", retain=True)
    green.until(lambda message: message.payload and not message.retain)  # a survey has passed since
    assert [message.payload for message in red if message.payload][1:] == [b'{"v":1,"seq":5,"epoch":"other"}']
    until(lambda: rehearsing.pin("lights", "green")["command"]["acked_at_s"], 5, "the other pin is commanded")
