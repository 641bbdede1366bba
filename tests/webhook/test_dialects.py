"""Dialects: every sender's body, and bodies that are nobody's."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.errors import ContractError
from webhook.dialects import FIRING, IGNORED, RESOLVED, UNKNOWN, Body, decode

PAYLOADS = Path(__file__).parent / "payloads"
NOW_S = 1795230700.5


def body_of(name: str, **decoding: Any) -> Body:
    return decode((PAYLOADS / f"{name}.json").read_bytes(), NOW_S, **decoding)


EXPECTED = [
    ("grafana_firing", "grafana", [(FIRING, "Too warm", "")]),
    ("grafana_resolved", "grafana", [(RESOLVED, "Too warm", "")]),
    (
        "grafana_mixed_group",
        "grafana",
        [(FIRING, "Too warm", ""), (FIRING, "Too warm", ""), (RESOLVED, "Too warm", "")],
    ),
    ("grafana_truncated", "grafana", [(FIRING, "Too warm", "")]),
    ("grafana_nodata", "grafana", [(IGNORED, "DatasourceNoData", "DatasourceNoData is not a condition")]),
    ("grafana_datasource_error", "grafana", [(IGNORED, "DatasourceError", "DatasourceError is not a condition")]),
    ("grafana_resolved_missing_series", "grafana", [(UNKNOWN, "Too warm", "MissingSeries")]),
    ("grafana_keeplast_sentinel_values", "grafana", [(FIRING, "Too warm", "")]),
    ("grafana_test_notification", "grafana", [(IGNORED, "TestAlert", "TestAlert is not a condition")]),
    ("alertmanager_v4", "alertmanager", [(FIRING, "Too warm", ""), (RESOLVED, "Too warm", "")]),
    ("legacy_alerting", "legacy", [(FIRING, "Too warm alert", "")]),
    ("legacy_ok", "legacy", [(RESOLVED, "Too warm alert", "")]),
    ("legacy_no_data", "legacy", [(UNKNOWN, "Too warm alert", "no_data")]),
]


@pytest.mark.parametrize(("name", "dialect", "notifications"), EXPECTED, ids=[row[0] for row in EXPECTED])
def test_each_alert_counts_by_its_own_status(
    name: str, dialect: str, notifications: list[tuple[str, str, str]]
) -> None:
    """Every payload file says what its README says."""
    decoded = body_of(name)
    assert decoded.dialect == dialect
    assert [(one.status, one.name, one.reason) for one in decoded.notifications] == notifications


def test_every_payload_file_is_expected_somewhere() -> None:
    """A file that is added here is added to the table too."""
    assert {path.stem for path in PAYLOADS.glob("*.json")} - {"hmac_vector"} == {row[0] for row in EXPECTED}


def test_an_episode_keeps_its_fingerprint_and_start_from_firing_to_resolved() -> None:
    """That pair is the identity of an episode, the missing series included."""
    names = (
        "grafana_firing",
        "grafana_resolved",
        "grafana_resolved_missing_series",
        "grafana_keeplast_sentinel_values",
    )
    identities = {(one.fingerprint, one.starts_at) for name in names for one in body_of(name).notifications}
    assert identities == {("e336fd38f95b1896", 1795230620.0)}


def test_truncated_alerts_are_told() -> None:
    """The sender says how many it left out."""
    assert body_of("grafana_truncated").truncated == 2


def test_legacy_bodies_of_one_rule_share_a_fingerprint_and_begin_when_they_come() -> None:
    """They carry neither, so the fingerprint follows from the rule and its tags, not from evalMatches."""
    bodies = [body_of(name).notifications[0] for name in ("legacy_alerting", "legacy_ok", "legacy_no_data")]
    assert len({one.fingerprint for one in bodies}) == 1
    assert {one.starts_at for one in bodies} == {NOW_S}


def test_a_legacy_body_without_a_tag_gets_the_targets_of_the_setting() -> None:
    """The original prototype's rules carry no tags."""
    bare = decode(b'{"state":"alerting","ruleId":null,"tags":null,"evalMatches":null}', NOW_S, "lights/red=1")
    tagged = body_of("legacy_alerting", legacy_actuate="lights/red=1")
    assert bare.notifications[0].labels["actuate"] == "lights/red=1"
    assert tagged.notifications[0].labels["actuate"] == "greenhouse-1/fan=1"


def test_legacy_states_that_change_nothing_are_ignored() -> None:
    """`pending` is not yet an alert."""
    assert decode(b'{"state":"pending","ruleName":"x"}', NOW_S).notifications[0].status == IGNORED


def test_nanoseconds_and_offsets_in_starts_at_are_read() -> None:
    """Go writes up to nine digits after the point, and offsets when it is not in UTC; milliseconds are kept."""
    alert = {"status": "firing", "labels": {}, "startsAt": "2026-11-21T05:10:20.123456789+02:00", "fingerprint": "a"}
    decoded = decode(json.dumps({"version": "4", "alerts": [alert]}).encode(), NOW_S)
    assert decoded.notifications[0].starts_at == 1795230620.123


def test_one_bad_alert_does_not_lose_the_others() -> None:
    """It is ignored with a reason that names it."""
    good = json.loads((PAYLOADS / "grafana_firing.json").read_bytes())["alerts"][0]
    bad: list[Any] = [{**good, "labels": {"a": 1}}, {**good, "startsAt": "yesterday"}, {}, 7, None]
    decoded = decode(json.dumps({"version": "1", "alerts": [*bad, good]}).encode(), NOW_S)
    assert [one.status for one in decoded.notifications] == [IGNORED] * 5 + [FIRING]
    assert decoded.notifications[1].reason.startswith("alerts[1]:")


def test_an_alert_without_a_fingerprint_gets_one_from_its_labels() -> None:
    """The same labels give the same one, in any order."""
    one = {"status": "firing", "labels": {"a": "1", "b": "2"}, "startsAt": "2026-11-21T03:10:20Z"}
    two = {**one, "labels": {"b": "2", "a": "1"}, "status": "resolved"}
    decoded = decode(json.dumps({"version": "4", "alerts": [one, two]}).encode(), NOW_S)
    assert decoded.notifications[0].fingerprint == decoded.notifications[1].fingerprint != ""


@pytest.mark.parametrize("key", ["alerts", "ruleName"])
def test_a_name_without_end_is_cut(key: str) -> None:
    """The log keeps so many changes; each of them holds the name."""
    alert = {"status": "firing", "labels": {"alertname": "n" * 10_000}, "startsAt": "2026-11-21T03:10:20Z"}
    body = {"alerts": [alert]} if key == "alerts" else {"state": "alerting", "ruleName": "n" * 10_000}
    one = decode(json.dumps(body).encode(), NOW_S).notifications[0]
    assert (one.name, len(one.labels["alertname"])) == ("n" * 200, 10_000)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "json"), (b"{", "json"), (b"\xff", "json"), (b'{"alerts":[' + b"[" * 100_000, "json"), (b"[]", "dialect"),
     (b"{}", "dialect"), (b"[" * 100_000, "dialect"), (b'{"alerts":{}}', "dialect"), (b'{"state":1}', "dialect"),
     (b'{"state":""}', "dialect"), (b"null", "dialect")],
    ids=repr,
)  # fmt: skip
def test_a_body_that_is_no_dialect_is_refused(body: bytes, reason: str) -> None:
    """The refusal's reason says whether it was JSON at all."""
    with pytest.raises(ContractError) as refused:
        decode(body, NOW_S)
    assert refused.value.reason == reason


_LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
_VALUE = _LEAF | st.dictionaries(st.text(max_size=4), _LEAF, max_size=3)
_ALERT = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["firing", "resolved"]) | _VALUE,
        "labels": _VALUE,
        "annotations": _VALUE,
        "startsAt": st.sampled_from(["2026-11-21T03:10:20Z", "0001-01-01T00:00:00Z"]) | _VALUE,
        "fingerprint": _VALUE,
    },
)
_ROOT = st.fixed_dictionaries(
    {},
    optional={
        "alerts": st.lists(_ALERT | _VALUE, max_size=3) | _VALUE,
        "state": st.sampled_from(["alerting", "ok", "no_data"]) | _VALUE,
        "version": _VALUE,
        "tags": _VALUE,
        "ruleId": _VALUE,
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=100) | _ROOT.map(lambda root: json.dumps(root).encode()))
def test_no_body_crashes_the_decoder(body: bytes) -> None:
    """Whatever comes is decoded or refused by name."""
    try:
        decoded = decode(body, NOW_S)
    except ContractError:
        return
    assert all(one.status in (FIRING, RESOLVED, UNKNOWN, IGNORED) for one in decoded.notifications)
