"""Claims in a real SQLite file: episodes, expiry, arbitration, crashes."""

import itertools
import sqlite3
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import StartError
from tests.webhook.desk import CLAIM_TTL_S, NOW_S, PIN, SAFE, Desk, notice, open_desk, outcome
from webhook.arbiter import PERSON, Claim
from webhook.commands import PinCommand
from webhook.database import Database
from webhook.dialects import FIRING, IGNORED, RESOLVED, UNKNOWN, Notification


def test_an_alert_claims_renews_and_withdraws(desk: Desk) -> None:
    """Only a change of the winner makes a command."""
    results, commands = desk.claims.notify([notice()], NOW_S)
    assert (results[0].outcome, results[0].targets) == ("claimed", ["lights/red=1"])
    assert [(one.value, one.slot, one.source, one.ttl_s) for one in commands] == [(1, "alert", "f1", 300)]
    again, commands = desk.claims.notify([notice()], NOW_S + 60)
    assert (again[0].outcome, commands) == ("renewed", [])
    assert desk.claims.of(PIN)[0].until_s == NOW_S + 60 + CLAIM_TTL_S
    results, commands = desk.claims.notify([notice(RESOLVED)], NOW_S + 90)
    assert (results[0].outcome, [one.value for one in commands]) == ("withdrawn", [None])
    assert desk.claims.all() == []


def test_a_claim_on_a_pin_that_no_device_has_described_stands_and_is_told(desk: Desk) -> None:
    """The device may come later; a wrong name must be seen."""
    result = desk.claims.notify([notice(actuate="lights/red=1,lights/rde=1")], NOW_S)[0][0]
    assert (result.outcome, result.reason) == ("claimed", "no device has described lights/rde")
    assert desk.value(("lights", "rde")) == 1


def test_an_alert_cannot_take_the_place_of_a_person(desk: Desk) -> None:
    """Whatever it calls itself, `person` included."""
    desk.claims.hold(Claim(*PIN, PERSON, 0, "manual", "ana", NOW_S, NOW_S + 600), NOW_S)
    for name in ("person", "manual"):
        desk.claims.notify([notice(fingerprint=name), notice(RESOLVED, NOW_S + 1, name)], NOW_S)
    assert [claim.source for claim in desk.claims.all()] == ["ana"]


def test_whole_numbers_stay_whole(desk: Desk) -> None:
    """Firmware gets 1, not 1.0, and a duty of 0.5 as it is."""
    desk.claims.notify([notice(actuate="lights/red=1,lights/dim=0.5")], NOW_S)
    assert repr(desk.value()) == "1"
    assert desk.value(("lights", "dim")) == 0.5


def test_duplicates_and_stale_notifications_change_nothing(desk: Desk) -> None:
    """The newer episode wins; within an episode resolved beats firing."""
    assert outcome(desk, notice(RESOLVED, NOW_S - 1)) == "withdrawn"
    assert outcome(desk, notice(FIRING, NOW_S - 1)) == "stale"
    assert outcome(desk, notice(RESOLVED, NOW_S - 1)) == "duplicate"
    assert outcome(desk, notice(FIRING, NOW_S)) == "claimed"
    assert outcome(desk, notice(RESOLVED, NOW_S - 1)) == "stale"
    assert desk.value() == 1


def test_a_replica_that_saw_the_alert_begin_sooner_keeps_it_up(desk: Desk) -> None:
    """The other one has said it once, with a later start; from then on only this one sends, each minute."""
    assert outcome(desk, notice(FIRING, NOW_S - 10)) == "claimed"
    assert outcome(desk, notice(FIRING, NOW_S)) == "claimed"
    for after_s in range(60, 900, 60):
        assert desk.claims.expire(NOW_S + after_s) == []
        assert outcome(desk, notice(FIRING, NOW_S - 10), NOW_S + after_s) == "renewed"
    assert outcome(desk, notice(RESOLVED, NOW_S), NOW_S + 900) == "withdrawn"
    assert outcome(desk, notice(FIRING, NOW_S - 10), NOW_S + 900) == "stale"
    assert desk.value() is None


def test_a_resolved_alert_withdraws_its_own_claim_and_no_other(desk: Desk) -> None:
    """The pin stays on until the last alert clears."""
    desk.claims.notify([notice(), notice(fingerprint="f2")], NOW_S)
    desk.claims.notify([notice(RESOLVED)], NOW_S)
    assert desk.value() == 1
    desk.claims.notify([notice(RESOLVED, fingerprint="f2")], NOW_S)
    assert desk.value() is None


def test_a_mistake_in_the_label_of_an_alert_that_fires_ends_nothing_at_once(desk: Desk) -> None:
    """A slip while editing a rule stops no pump; nobody renews its claim, so it ends in its time."""
    desk.claims.notify([notice()], NOW_S)
    assert outcome(desk, notice(actuate="../x=1"), NOW_S + 60) == IGNORED
    assert desk.value() == 1
    desk.claims.expire(NOW_S + CLAIM_TTL_S)
    assert desk.value() is None


@pytest.mark.parametrize("actuate", ["", "../x=1", "lights/green=1"])
def test_an_end_counts_whatever_the_alert_asks_for_by_then(desk: Desk, actuate: str) -> None:
    """The rule was edited while it fired: its label is gone, wrong, or names another pin."""
    desk.claims.notify([notice()], NOW_S)
    assert outcome(desk, notice(RESOLVED, actuate=actuate)) == "withdrawn"
    assert desk.value() is None


def test_an_alert_that_ends_unknown_asks_for_the_safe_value(desk: Desk) -> None:
    """Below every claim, until the alert is heard of again or a person lets go."""
    desk.claims.notify([notice()], NOW_S)
    assert outcome(desk, notice(UNKNOWN)) == "unknown"
    assert (desk.value(), desk.claims.of(PIN)[0].slot) == (SAFE, "unknown")
    desk.claims.notify([notice(fingerprint="f2", slot="threshold")], NOW_S)
    assert desk.value() == 1
    desk.claims.notify([notice(RESOLVED, fingerprint="f2")], NOW_S)
    assert desk.value() == SAFE
    desk.claims.expire(NOW_S + 1e6)
    assert desk.value() == SAFE
    desk.claims.let_go(PIN, NOW_S)
    assert desk.value() is None


def test_the_wish_of_an_unknown_end_outlives_its_alerts_absence(desk: Desk) -> None:
    """It is in the list of active alerts no more, and how it ended is still not known."""
    desk.claims.notify([notice(), notice(fingerprint="f2", slot="threshold")], NOW_S)
    desk.claims.notify([notice(UNKNOWN)], NOW_S)
    assert desk.claims.lapse(["f1"], "not in the list", NOW_S) == []
    assert [one.value for one in desk.claims.lapse(["f2"], "not in the list", NOW_S)] == [SAFE]


def test_a_command_counts_to_the_last_body_that_touched_its_pin(desk: Desk) -> None:
    """Of bodies that are committed together, each sender is told of its own commands."""
    one, two = notice(actuate="lights/red=1,lights/dim=1"), notice(fingerprint="f2", actuate="lights/red=5")
    made = desk.claims.notify_all([([one], NOW_S), ([two], NOW_S)])
    assert [[(command.pin, command.value) for command in commands] for _, commands in made] == [
        [("dim", 1)],
        [("red", 5)],
    ]


def test_an_unknown_end_on_a_pin_that_nobody_described_releases_it(desk: Desk) -> None:
    """Its safe value is known only to the device, whose default it then is."""
    other = ("far", "pump")
    desk.claims.notify([notice(actuate="far/pump=1")], NOW_S)
    desk.claims.notify([notice(UNKNOWN, actuate="far/pump=1")], NOW_S)
    assert desk.value(other) is None
    assert desk.claims.pins_of("far") == {other}


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ({"actuate": ""}, "actuate"),
        ({"actuate": "../x=1"}, "actuate"),
        ({"slot": "manual"}, "slot"),
        ({"slot": "x"}, "slot"),
    ],
)
def test_an_alert_that_names_no_good_target_is_ignored_with_a_reason(
    desk: Desk, label: dict[str, str], reason: str
) -> None:
    """It is shown among the alerts, and claims nothing."""
    result = desk.claims.notify([notice(**label)], NOW_S)[0][0]
    assert (result.outcome, result.reason.split(":")[0]) == (IGNORED, reason)
    assert desk.claims.all() == []
    assert [row["reason"] for row in desk.claims.alerts(20)] == [result.reason]


def test_a_claim_that_is_not_asserted_again_expires(desk: Desk) -> None:
    """Its alert is shown as expired, and a late repetition claims anew."""
    desk.claims.notify([notice()], NOW_S)
    assert desk.claims.expire(NOW_S + CLAIM_TTL_S - 1) == []
    assert [one.value for one in desk.claims.expire(NOW_S + CLAIM_TTL_S)] == [None]
    assert [row["outcome"] for row in desk.claims.alerts(20)] == ["expired"]
    desk.claims.notify([notice()], NOW_S + 400)
    assert desk.value() == 1


def test_an_alert_whose_targets_change_lets_go_of_the_old_ones(desk: Desk) -> None:
    """A rule that was edited keeps its fingerprint."""
    desk.claims.notify([notice(actuate="lights/red=1,lights/green=0")], NOW_S)
    desk.claims.notify([notice(actuate="lights/green=1")], NOW_S)
    assert desk.value() is None
    assert desk.value(("lights", "green")) == 1


def test_a_person_wins_over_alerts_and_has_one_claim_per_pin(desk: Desk) -> None:
    """A second wish takes the place of the first."""
    desk.claims.notify([notice()], NOW_S)
    for value in (1, 0):
        desk.claims.hold(Claim(*PIN, PERSON, value, "manual", "ana", NOW_S, NOW_S + 10), NOW_S)
    assert (desk.value(), len(desk.claims.all())) == (0, 2)
    desk.claims.expire(NOW_S + 10)
    assert desk.value() == 1


def test_a_lease_never_outlives_its_claim_by_more_than_seconds(desk: Desk) -> None:
    """A webhook that dies cannot leave a pump on for the rest of a long lease."""
    commands = desk.claims.hold(Claim(*PIN, PERSON, 1, "manual", "ana", NOW_S, NOW_S + 10), NOW_S)
    assert commands[0].ttl_s == 15


def test_seq_grows_even_when_the_clock_goes_back(desk: Desk) -> None:
    """It is milliseconds since 1970, at least one more than the last."""
    seqs = [command.seq for now_s in (NOW_S, NOW_S, NOW_S - 3600) for command in reissued(desk, now_s)]
    assert seqs == sorted(set(seqs))
    assert seqs[0] == int(NOW_S * 1000)


def reissued(desk: Desk, now_s: float) -> list[PinCommand]:
    return desk.claims.reissue([PIN], now_s)


def test_changes_are_logged_with_acknowledgement_and_report(desk: Desk) -> None:
    """A renewal is no change; the first report of a value counts."""
    command = desk.claims.notify([notice()], NOW_S)[1][0]
    renewed = reissued(desk, NOW_S + 100)[0]
    desk.commands.acknowledge([(PIN, command.seq, NOW_S + 0.5)])
    assert desk.commands.report(PIN, command.seq - 1, 1, NOW_S + 0.6) is None
    assert desk.commands.report(PIN, command.seq, 0, NOW_S + 0.7) is None
    assert desk.commands.report(PIN, renewed.seq, 1, NOW_S + 1) == 1
    assert desk.commands.report(PIN, renewed.seq, 1, NOW_S + 2) is None
    changes = [
        (row["value"], row["reason"], row["acked_s"], row["reported_s"]) for row in desk.commands.changes(PIN, 10)
    ]
    assert changes == [(1, "f1: claimed", NOW_S + 0.5, NOW_S + 1)]


def test_a_report_of_before_is_not_the_end_that_was_asked_for(desk: Desk) -> None:
    """It was on its way when the pin was released, and tells of an earlier rest."""
    desk.claims.notify([notice()], NOW_S)
    desk.claims.notify([notice(RESOLVED)], NOW_S + 10)
    assert desk.commands.report(PIN, 0, None, NOW_S + 9) is None
    assert desk.commands.may_hold(PIN)
    assert desk.commands.report(PIN, 0, None, NOW_S + 12) == 2
    assert not desk.commands.may_hold(PIN)


def test_old_alerts_are_forgotten_with_the_wish_that_they_left(desk: Desk) -> None:
    """After a week without a word."""
    desk.claims.notify([notice(UNKNOWN)], NOW_S)
    assert desk.claims.prune(NOW_S + 86400) == []
    assert [one.value for one in desk.claims.prune(NOW_S + 8 * 86400)] == [None]
    assert desk.claims.alerts(20) == []


def test_a_transaction_that_fails_leaves_nothing_behind(desk: Desk) -> None:
    """A full disk: refused whole, and good again when there is room."""
    desk.claims.notify([notice()], NOW_S)
    pages = desk.database.connection.execute("PRAGMA page_count").fetchone()[0]
    desk.database.connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [notice(fingerprint=f"f{i}", actuate=f"lights/p{i}=1") for i in range(2000)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        desk.claims.notify(many, NOW_S)
    assert len(desk.claims.all()) == 1
    desk.database.connection.execute("PRAGMA max_page_count = 100000")
    assert len(desk.claims.notify(many, NOW_S)[1]) == 2001  # f1 moved to its new pin, and released the old one


def test_the_database_survives_reopening_with_its_epoch(tmp_path: Path) -> None:
    """Epoch, claims and seq are those of before."""
    first = open_desk(tmp_path / "claims.db")
    first.claims.notify([notice()], NOW_S)
    epoch, command = first.database.epoch, first.commands.of(PIN)
    first.database.close()
    second = open_desk(tmp_path / "claims.db")
    assert (second.database.epoch, second.commands.of(PIN)) == (epoch, command)
    second.database.close()


def test_a_claim_that_is_made_shorter_shortens_the_lease(desk: Desk) -> None:
    """Nothing but its end is new, and a webhook that dies now leaves the pin on for 5 s more, not for a lease."""
    for since_s, until_s in ((0, 1800), (1, 11)):
        desk.claims.hold(Claim(*PIN, PERSON, 1, "manual", "ana", NOW_S + since_s, NOW_S + until_s), NOW_S + since_s)
    command = desk.commands.of(PIN)
    assert command
    assert (command.at_s, command.ttl_s) == (NOW_S + 1, 15)
    assert len(desk.commands.log(0, 0, None, 99)) == 1
    assert desk.claims.hold(Claim(*PIN, PERSON, 1, "manual", "ana", NOW_S + 2, NOW_S + 11), NOW_S + 2) == []


def test_a_second_writer_is_refused(desk: Desk) -> None:
    """The error names the file and what to do."""
    with pytest.raises(StartError, match="another webhook is using"):
        Database(desk.database.path)
    link = desk.database.path.with_name("link.db")
    link.symlink_to(desk.database.path)
    with pytest.raises(StartError, match="another webhook is using"):
        Database(link)


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """Neither another format nor a newer schema is written to."""
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(StartError, match="not a database"):
        Database(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "newer.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(StartError, match="newer Pinloop"):
        Database(tmp_path / "newer.db")


# The small model: the strongest word of the newest episode per alert, and when it last said "firing".

_STRENGTH = {FIRING: 0, UNKNOWN: 1, RESOLVED: 2}
_VALUES = {"a": 1, "b": 5, "c": 3}


class Model:
    def __init__(self) -> None:
        self.best: dict[str, tuple[float, int]] = {}
        self.until_s: dict[str, float] = {}

    def hear(self, one: Notification, now_s: float) -> None:
        word = (one.starts_at, _STRENGTH[one.status])
        if one.fingerprint in self.best and word < self.best[one.fingerprint]:
            if word[1] == self.best[one.fingerprint][1] == 0:  # a replica that saw it begin sooner
                self.until_s[one.fingerprint] = now_s + CLAIM_TTL_S
            return
        self.best[one.fingerprint] = word
        if one.status == FIRING:
            self.until_s[one.fingerprint] = now_s + CLAIM_TTL_S

    def value(self, now_s: float) -> float | None:
        firing = [_VALUES[f] for f, (_, word) in self.best.items() if word == 0 and self.until_s[f] > now_s]
        unknown = any(word == 1 for _, word in self.best.values())
        return max(firing, default=SAFE if unknown else None)


_NOTICES = st.builds(
    lambda fingerprint, episode, status: notice(
        status, NOW_S - 1000 + episode, fingerprint, f"lights/red={_VALUES[fingerprint]}"
    ),
    st.sampled_from(sorted(_VALUES)),
    st.integers(0, 2),
    st.sampled_from(sorted(_STRENGTH)),
)
_STEPS = st.lists(st.tuples(_NOTICES, st.sampled_from([0.0, 1.0, 60.0, 200.0, 301.0])), min_size=1, max_size=12)


@given(_STEPS)
@settings(max_examples=60, deadline=None)
def test_the_command_is_what_the_model_says_after_every_step(steps: list[tuple[Notification, float]]) -> None:
    """Any notifications in any order, with time passing and claims expiring in between."""
    with TemporaryDirectory() as folder:
        desk, model, now_s = open_desk(Path(folder) / "claims.db"), Model(), NOW_S
        for one, pause_s in steps:
            now_s += pause_s
            desk.claims.expire(now_s)
            desk.claims.notify([one], now_s)
            model.hear(one, now_s)
            assert desk.value() == model.value(now_s)
        desk.database.close()


@given(st.lists(_NOTICES, max_size=5), st.randoms())
@settings(max_examples=40, deadline=None)
def test_order_duplicates_and_grouping_do_not_matter(notices: list[Notification], random: object) -> None:
    """The same set, shuffled, doubled, and in one body or many, ends in the same value."""
    doubled = notices + notices[:2]
    random.shuffle(doubled)  # type: ignore[attr-defined]
    ends = []
    for bodies in ([notices], [[one] for one in doubled], [doubled]):
        with TemporaryDirectory() as folder:
            desk = open_desk(Path(folder) / "claims.db")
            for body in bodies:
                desk.claims.notify(body, NOW_S)
            ends.append(desk.value())
            desk.database.close()
    assert len(set(ends)) == 1


@given(st.lists(st.tuples(st.sampled_from(sorted(_VALUES)), st.booleans(), st.booleans()), max_size=12))
@settings(max_examples=40, deadline=None)
def test_losses_heal_by_repetition_and_expiry(history: list[tuple[str, bool, bool]]) -> None:
    """Whatever was lost, one repetition of what fires and one expiry later the pin is what the truth asks for."""
    firing: dict[str, Notification] = {}
    with TemporaryDirectory() as folder:
        desk = open_desk(Path(folder) / "claims.db")
        for clock, (fingerprint, fires, lost) in zip(itertools.count(NOW_S), history, strict=False):
            current = firing.pop(fingerprint, None)
            one = notice(FIRING, clock, fingerprint, f"lights/red={_VALUES[fingerprint]}")
            if fires:
                firing[fingerprint] = one = current or one
            elif current:
                one = replace(current, status=RESOLVED)
            else:
                continue
            if not lost:
                desk.claims.notify([one], clock)
        later_s = NOW_S + 100 + CLAIM_TTL_S
        desk.claims.notify(list(firing.values()), later_s - 60)
        desk.claims.expire(later_s)
        assert desk.value() == max((_VALUES[f] for f in firing), default=None)
        desk.database.close()
