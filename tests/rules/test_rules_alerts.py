"""Alerts as the webhook gets them, and the database that keeps them."""

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from rules.alerts import Alert, body, ended, fingerprint, fired
from rules.evaluate import FIRING, RESOLVED, UNKNOWN, Transition
from rules.load import parse_rules
from rules.state import State
from service.errors import StartError

WALL = 1_790_000_000.25
PAYLOADS = "version: 1\nrules:\n"
RULE = parse_rules(
    PAYLOADS + '- {name: too-warm, when: t > 28, over: 10s, slot: safety, then: ["{device}/fan = 1", hall/horn = 0.5]}'
)[0]
LAMP = parse_rules(PAYLOADS + "- {name: lamp, daily: '18:00', lasts: 1h, tz: Europe/Madrid, then: [porch/lamp = 1]}")[0]


def fire(value: float | None = 29.5, previous: Alert | None = None, wall_s: float = WALL) -> Alert:
    return fired(Transition(RULE, "attic", FIRING, value), previous, wall_s)


def test_the_body_is_alertmanagers():
    """The same keys as its version 4 message, and each alert with the same keys and types."""
    text = json.loads(body([fire()]))
    assert set(text) == {
        "receiver", "status", "alerts", "groupLabels", "commonLabels", "commonAnnotations", "externalURL", "version",
        "groupKey", "truncatedAlerts",
    }  # fmt: skip
    assert text["version"] == "4"
    [alert] = text["alerts"]
    assert alert == {
        "status": "firing",
        "labels": {
            "alertname": "too-warm",
            "device": "attic",
            "actuate": "attic/fan=1,hall/horn=0.5",
            "slot": "safety",
        },
        "annotations": {"summary": "attic/t (mean of 10 s) is 29.5, > 28"},
        "startsAt": "2026-09-21T14:13:20.250Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": alert["fingerprint"],
    }
    assert re.fullmatch("[0-9a-f]{16}", alert["fingerprint"])


def test_a_body_says_firing_while_any_of_its_alerts_does():
    """As Alertmanager does; receivers that know better go by each alert."""
    firing = fire()
    over = ended(firing, RESOLVED, WALL + 60)
    assert json.loads(body([over, firing]))["status"] == "firing"
    text = json.loads(body([over]))
    assert text["status"] == text["alerts"][0]["status"] == "resolved"
    assert text["alerts"][0]["endsAt"] == "2026-09-21T14:14:20.250Z"


def test_unknown_is_resolved_with_grafanas_word_for_why():
    """The webhook takes the pins to their safe values then."""
    [alert] = json.loads(body([ended(fire(), UNKNOWN, WALL + 60)]))["alerts"]
    assert alert["status"] == "resolved"
    assert alert["annotations"]["grafana_state_reason"] == "NoData"


def test_a_daily_alert_has_no_device():
    """Nobody sent a reading."""
    alert = fired(Transition(LAMP, "", FIRING, None), None, WALL)
    assert alert.labels == {"alertname": "lamp", "actuate": "porch/lamp=1", "slot": "timer"}
    assert alert.annotations == {"summary": "lamp: every day at 18:00 (Europe/Madrid)"}
    assert alert.reason == ""


def test_fingerprints_depend_on_the_rule_and_the_device_only():
    """They are the same in every version of pinloop, or claims would be left behind by an upgrade."""
    assert fingerprint(("too-bright", "pot")) == "136957846d42d2e1"
    assert fire().fingerprint == fire(50, None, WALL + 5).fingerprint == fingerprint(("too-warm", "attic"))
    assert len({fingerprint(key) for key in (("a", "b"), ("b", "a"), ("a", ""), ("", "a"), ("ab", ""))}) == 5


def test_an_episode_keeps_its_start_and_the_next_one_starts_later():
    """Also when the wall clock was set back meanwhile."""
    first = fire()
    assert fire(31, first, WALL + 60).starts_at_s == WALL
    assert fire(31, ended(first, RESOLVED, WALL + 60), WALL + 90).starts_at_s == WALL + 90
    back = fire(31, ended(first, RESOLVED, WALL + 60), WALL - 86400)
    assert back.starts_at_s == pytest.approx(WALL + 0.001)
    assert back.starts_at_s > first.starts_at_s
    assert ended(back, RESOLVED, WALL - 86300).ends_at_s == back.starts_at_s


def test_an_alert_that_silence_fired_says_so_until_a_reading_does():
    """The reason decides how it ends after a restart."""
    silent = fire(None)
    assert silent.reason == "NoData"
    assert silent.annotations == {"summary": "attic/t: no reading"}
    assert fire(None, silent, WALL + 1).reason == "NoData"
    assert fire(30, silent, WALL + 1).reason == ""
    assert fire(None, fire(30), WALL + 1).reason == ""  # held: a reading fired it


def test_what_is_saved_is_there_after_a_restart(tmp_path: Path):
    """With whether the webhook has it."""
    state = State(tmp_path / "sub" / "rules.db", WALL)
    firing, lamp = fire(), fired(Transition(LAMP, "", FIRING, None), None, WALL)
    state.save([firing, lamp])
    state.delivered([firing])
    state.close()
    stored = {one.alert.key: one for one in State(tmp_path / "sub" / "rules.db", WALL).load()}
    assert stored[firing.key].alert == firing
    assert stored[firing.key].delivered
    assert stored[lamp.key].alert == lamp
    assert not stored[lamp.key].delivered


def test_a_delivery_of_an_older_notification_does_not_count_for_a_newer_one(tmp_path: Path):
    """The alert was resolved while the firing was on its way."""
    state = State(tmp_path / "rules.db", WALL)
    firing = fire()
    state.save([firing])
    state.save([ended(firing, RESOLVED, WALL + 1)])
    state.delivered([firing])
    [stored] = state.load()
    assert not stored.delivered
    assert stored.alert.status == RESOLVED


def test_what_ended_and_was_delivered_is_forgotten_after_a_week(tmp_path: Path):
    """What fires, or was not delivered, never is."""
    state = State(tmp_path / "rules.db", WALL)
    alerts = [replace(fire(), key=("too-warm", device)) for device in ("delivered", "waiting", "firing")]
    over = [ended(alert, RESOLVED, WALL) for alert in alerts[:2]]
    state.save([*over, alerts[2]])
    state.delivered([over[0], alerts[2]])
    state.close()
    state = State(tmp_path / "rules.db", WALL + 8 * 86400)
    assert [one.alert.key[1] for one in state.load()] == ["firing", "waiting"]


def test_a_database_of_another_version_or_kind_is_refused(tmp_path: Path):
    """One clear line, nothing is overwritten."""
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("PRAGMA user_version = 9")
    (tmp_path / "text.db").write_text("this is not a database, and long enough to be sure of it" * 20)
    (tmp_path / "file").touch()
    for name, rule in (
        ("newer.db", "has version 9"),
        ("text.db", "file is not a database"),
        ("file/rules.db", "cannot be used"),
    ):
        with pytest.raises(StartError, match=rule):
            State(tmp_path / name, WALL)
