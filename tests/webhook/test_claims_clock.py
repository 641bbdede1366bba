"""Claims when the wall clock is wrong, or is set: a pin is neither kept on nor kept off by it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.webhook.desk import CLAIM_TTL_S, NOW_S, PIN, Desk, notice, outcome
from webhook.arbiter import PERSON, Claim
from webhook.claims import Claims
from webhook.commands import Commands
from webhook.database import Database
from webhook.dialects import FIRING, RESOLVED


def test_a_clock_that_is_set_back_does_not_keep_a_pin_on(desk: Desk) -> None:
    """The end of the alert counts, though its start lies in what is now the future."""
    desk.claims.notify([notice(starts_at=NOW_S)], NOW_S)
    back_s = NOW_S - 3600
    assert outcome(desk, notice(RESOLVED, back_s), back_s) == "withdrawn"
    assert desk.value() is None


@pytest.mark.parametrize("words", [(FIRING, RESOLVED, FIRING), (RESOLVED, FIRING), (FIRING, RESOLVED, RESOLVED)])
def test_a_sender_whose_clock_is_ahead_is_heard_as_any_other(desk: Desk, words: Sequence[str]) -> None:
    """Within an episode "resolved" wins, also over what a replica says later and while the start is still to come."""
    said = [outcome(desk, notice(word, NOW_S + 60), NOW_S + after_s) for after_s, word in enumerate(words)]
    assert "claimed" not in said[1:]
    assert desk.value() is None


def test_the_next_episode_of_a_sender_whose_clock_is_ahead_counts(desk: Desk) -> None:
    """It begins later by the same clock; and when that was put right meanwhile, it begins earlier."""
    for began_s, after_s in ((60, 1), (80, 20), (25, 25)):
        assert outcome(desk, notice(FIRING, NOW_S + began_s), NOW_S + after_s) == "claimed"
        assert desk.claims.of(PIN)[0].since_s == NOW_S + after_s
        assert outcome(desk, notice(RESOLVED, NOW_S + began_s), NOW_S + after_s) == "withdrawn"


def test_an_alert_of_a_clock_that_was_ahead_does_not_silence_the_next(desk: Desk) -> None:
    """Fired and resolved a day ahead; when the clock is right again the alert must act."""
    ahead_s = NOW_S + 86400
    desk.claims.notify([notice(starts_at=ahead_s)], ahead_s)
    desk.claims.notify([notice(RESOLVED, ahead_s)], ahead_s)
    assert outcome(desk, notice(FIRING, NOW_S)) == "claimed"
    assert desk.value() == 1


def test_an_alerts_claim_never_outlives_its_time_whatever_the_clock_said(desk: Desk) -> None:
    """Made a year ahead, never heard of again: it ends claim_ttl_s after the clock is right."""
    desk.claims.notify([notice(starts_at=NOW_S + 3e7)], NOW_S + 3e7)
    desk.claims.expire(NOW_S)
    assert desk.claims.of(PIN)[0].until_s == NOW_S + CLAIM_TTL_S
    desk.claims.expire(NOW_S + CLAIM_TTL_S)
    assert desk.value() is None


def test_claims_and_leases_last_as_long_as_before_when_the_clock_is_set(desk: Desk) -> None:
    """The reconciler tells by how much; a manual claim of half an hour stays one of half an hour."""
    desk.claims.hold(Claim(*PIN, PERSON, 1, "manual", "anna", NOW_S, NOW_S + 1800), NOW_S)
    desk.claims.shift(-3600.0)
    now_s = NOW_S - 3600
    assert (desk.claims.of(PIN)[0].since_s, desk.claims.of(PIN)[0].until_s) == (now_s, now_s + 1800)
    assert desk.commands.due(now_s, 10) == []
    assert desk.commands.due(now_s + 100, 10) == [PIN]
    desk.claims.expire(now_s + 1800)
    assert desk.value() is None


def test_a_lease_that_was_given_in_the_future_is_renewed_now(desk: Desk) -> None:
    """The clock was set back while the webhook was not running."""
    desk.claims.notify([notice()], NOW_S)
    assert desk.commands.due(NOW_S - 3600, 10) == [PIN]


def test_an_old_copy_of_the_database_does_not_make_a_device_deaf(tmp_path: Path) -> None:
    """A command's seq is beyond the one that the device reported last."""
    database = Database(tmp_path / "claims.db")
    commands = Commands(database, 300, lambda _pin: 2 * 10**12)
    claims = Claims(database, commands, lambda _pin: 0, {}, CLAIM_TTL_S)
    _, made = claims.notify([notice()], NOW_S)
    assert [one.seq for one in made] == [2 * 10**12 + 1]
    database.close()


def test_a_clock_that_is_set_ahead_by_weeks_forgets_no_alert(desk: Desk) -> None:
    """A board without a battery learns the date from the network: what fires goes on, and the pump with it."""
    desk.claims.notify([notice()], NOW_S)
    step_s = 30 * 86400
    desk.claims.shift(step_s, NOW_S + step_s)
    desk.claims.expire(NOW_S + step_s)
    assert desk.claims.prune(NOW_S + step_s) == []
    assert desk.value() == 1
