"""Reading back: the claims equal what is firing, and nobody else's claims are touched."""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from service.errors import SettingsError
from tests.webhook.desk import CLAIM_TTL_S, PIN, Desk, notice
from tests.webhook.grafana import PASSWORD, USER, Grafana
from webhook.active import Active, active_alerts
from webhook.dialects import decode
from webhook.follower import GRAFANA, Follower, Source
from webhook.readback import Readback, sources_of
from webhook.settings import Settings

ACTUATE = "lights/red=1"


class Carrier:
    """Carries out what is decided; the broker is not the subject here."""

    def carry_out(self, decide: Callable[[], object]) -> int:
        decide()
        return 0


class Bench:
    """A desk beside a Grafana that is read."""

    def __init__(self, desk: Desk, grafana: Grafana) -> None:
        self.desk = desk
        self.grafana = grafana
        self.began_s = time.time() - 10
        self.moment_s = 0.0
        self.reader = self.open()

    def open(self, receiver: str = "", password: str = PASSWORD) -> Readback:
        source = Source(GRAFANA, self.grafana.url, USER, password, receiver=receiver)
        follower = Follower(self.desk.database, self.desk.claims, CLAIM_TTL_S, source)
        return Readback(source, follower, Carrier(), 30, CLAIM_TTL_S, lambda: self.moment_s)  # type: ignore[arg-type]

    def take(self, body: bytes) -> None:
        """Take in a POST."""
        now_s = time.time()
        self.desk.claims.notify(decode(body, now_s).notifications, now_s)

    def read(self, times: int = 1) -> None:
        for _ in range(times):
            self.reader.read()

    def fire_and_tell(self, fingerprint: str = "hot", actuate: str = ACTUATE) -> None:
        """Let an alert fire, whose notification comes."""
        self.grafana.fire(fingerprint, actuate, self.began_s)
        self.take(self.grafana.post(self.grafana.alerts[fingerprint]))


@pytest.fixture
def bench(desk: Desk) -> Iterator[Bench]:
    grafana = Grafana()
    yield Bench(desk, grafana)
    grafana.close()


def test_an_alert_that_fires_there_and_is_unknown_here_becomes_a_claim(bench: Bench) -> None:
    """Its notification came while nobody listened."""
    bench.grafana.fire("hot", ACTUATE, bench.began_s)
    bench.read()
    assert bench.desk.value() == 1
    assert [claim.source for claim in bench.desk.claims.of(PIN)] == ["hot"]


def test_a_lost_resolved_is_found_in_two_reads(bench: Bench) -> None:
    """Not in one: the list may have been made a moment before the alert came."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.resolve("hot")
    bench.read()
    assert bench.desk.value() == 1
    bench.read()
    assert bench.desk.value() is None
    assert [row["outcome"] for row in bench.desk.claims.alerts(20)] == ["expired"]


def test_a_lost_resolved_is_found_after_a_restart(bench: Bench) -> None:
    """Which sender is the one that is read is remembered."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.resolve("hot")
    bench.reader = bench.open()
    bench.read(2)
    assert bench.desk.value() is None


def test_an_alert_that_is_repeated_after_it_was_ended_claims_again(bench: Bench) -> None:
    """In the same episode: a Grafana that restarted lists nothing for a moment."""
    bench.fire_and_tell()
    bench.read()
    alert = bench.grafana.resolve("hot")
    bench.read(2)
    bench.grafana.alerts["hot"] = alert
    bench.read()
    assert bench.desk.value() == 1


def test_a_notification_that_came_after_the_question_knows_more_than_the_list(bench: Bench) -> None:
    """However many lists were made before it."""
    bench.fire_and_tell()
    bench.read()
    alert = bench.grafana.resolve("hot")
    for _ in range(4):
        bench.read()
        bench.take(bench.grafana.post(alert))
    assert bench.desk.value() == 1


def test_a_resolved_that_came_is_not_undone_by_an_old_list(bench: Bench) -> None:
    """Within an episode resolved beats firing, whoever says firing."""
    bench.fire_and_tell()
    bench.take(bench.grafana.post(bench.grafana.alerts["hot"], "resolved"))
    bench.read()
    assert bench.desk.value() is None


@pytest.mark.parametrize("other", [Grafana, None], ids=["another Grafana", "rules and people"])
def test_claims_of_other_senders_are_left_alone(bench: Bench, other: type[Grafana] | None) -> None:
    """Absence from this list says nothing of them."""
    bench.fire_and_tell()
    bench.read()
    if other:
        second = other("http://elsewhere:3000/")
        second.fire("far", "lights/green=1", bench.began_s)
        bench.take(second.post(second.alerts["far"]))
        second.close()
    else:
        bench.desk.claims.notify([notice(fingerprint="rule", actuate="lights/green=1")], time.time())
    bench.read(3)
    assert bench.desk.value(("lights", "green")) == 1


def test_another_grafana_of_the_same_name_is_left_alone(bench: Bench) -> None:
    """Both say http://localhost:3000/, as Grafana does by itself: what was never listed here is not ended from here."""
    bench.fire_and_tell()
    second = Grafana()
    second.fire("tank", ACTUATE, bench.began_s)
    second.alerts["tank"]["labels"]["slot"] = "safety"
    bench.take(second.post(second.alerts["tank"]))
    second.close()
    for _ in range(2):
        bench.read(3)
        assert [claim.source for claim in bench.desk.claims.of(PIN)] == ["tank", "hot"]
        bench.reader = bench.open()
    bench.grafana.resolve("hot")
    bench.read(2)
    assert [claim.source for claim in bench.desk.claims.of(PIN)] == ["tank"]


def test_an_alert_that_fires_again_is_not_ended_before_it_was_listed_again(bench: Bench) -> None:
    """What was listed is this episode of it, not any."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.resolve("hot")
    second = Grafana()
    second.fire("hot", ACTUATE, bench.began_s + 5)
    bench.take(second.post(second.alerts["hot"]))
    second.close()
    bench.read(3)
    assert bench.desk.value() == 1


def test_what_was_listed_is_forgotten_when_it_has_ended(bench: Bench) -> None:
    """The table does not grow with every alert that ever fired."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.resolve("hot")
    bench.read(3)
    assert bench.desk.database.connection.execute("SELECT count(*) FROM listed").fetchone()[0] == 0


def test_the_other_organizations_of_the_same_grafana_are_left_alone(bench: Bench) -> None:
    """Each has a list of its own."""
    bench.fire_and_tell()
    bench.read()
    second = Grafana(org=2)
    second.fire("far", "lights/green=1", bench.began_s)
    bench.take(second.post(second.alerts["far"]))
    second.close()
    bench.read(3)
    assert bench.desk.value(("lights", "green")) == 1


def test_a_sender_that_posts_what_is_listed_from_another_address_is_not_taken_for_it(bench: Bench) -> None:
    """Two Grafanas with the same rules give them the same fingerprints."""
    twin = Grafana("http://twin:3000/")
    for name, pin in (("hot", "red"), ("wet", "green")):
        twin.fire(name, f"lights/{pin}=1", bench.began_s)
        bench.take(twin.post(twin.alerts[name]))
    twin.close()
    bench.grafana.fire("hot", ACTUATE, bench.began_s)
    bench.read(3)
    assert bench.desk.value(("lights", "green")) == 1


def test_a_silenced_alert_holds_nothing(bench: Bench) -> None:
    """Nobody is told of it, so its claim would expire: it ends now, and comes back with the alert."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.fire("hot", ACTUATE, bench.began_s, "suppressed")
    bench.read(2)
    assert bench.desk.value() is None
    bench.grafana.fire("hot", ACTUATE, bench.began_s)
    bench.read()
    assert bench.desk.value() == 1


def test_alerts_for_another_contact_point_claim_nothing_when_one_is_named(bench: Bench) -> None:
    """A routing policy that sends them elsewhere is heeded."""
    bench.reader = bench.open(receiver="pinloop-webhook")
    bench.grafana.fire("hot", ACTUATE, bench.began_s)
    bench.grafana.fire("mail", "lights/green=1", bench.began_s)
    bench.grafana.alerts["mail"]["receivers"] = [{"name": "email"}]
    bench.read()
    assert (bench.desk.value(), bench.desk.value(("lights", "green"))) == (1, None)


@pytest.mark.parametrize("name", ["DatasourceNoData", "DatasourceError"])
def test_what_is_no_condition_claims_nothing(bench: Bench, name: str) -> None:
    """Grafana lists it among the active ones."""
    bench.grafana.fire("hot", ACTUATE, bench.began_s, alertname=name)
    bench.read()
    assert bench.desk.claims.all() == []


def test_a_read_asserts_a_claim_again_before_it_ends(bench: Bench) -> None:
    """Once in a third of its time, not with each read."""
    bench.fire_and_tell()
    follower = Follower(bench.desk.database, bench.desk.claims, CLAIM_TTL_S, Source(GRAFANA, bench.grafana.url))
    listed = _listed(bench)
    until_s = bench.desk.claims.of(PIN)[0].until_s
    assert until_s is not None
    now_s = time.time()
    follower.follow(listed, now_s, now_s)
    assert bench.desk.claims.of(PIN)[0].until_s == until_s
    follower.follow(listed, now_s + 101, now_s + 101)
    assert bench.desk.claims.of(PIN)[0].until_s == now_s + 101 + CLAIM_TTL_S


def _listed(bench: Bench) -> list[Active]:
    return active_alerts(bench.grafana.listed(), "grafana x")


_WRONG = [
    (401, b'{"message":"Unauthorized"}'),
    (403, b"{}"),
    (302, b""),
    (404, b"{}"),
    (500, b"{}"),
    (503, b""),
    (200, b""),
    (200, b"<html>"),
    (200, b"{}"),
    (200, b"null"),
    (200, b'[{"status":{"state":"active"}}]'),
    (200, b"[[[[" * 10_000),
    (200, b'[{"status":{"state":"active"},"labels":{},"startsAt":"soon","fingerprint":"x"}]'),
]


@pytest.mark.parametrize(("status", "body"), _WRONG, ids=[f"{status} {body[:20]!r}" for status, body in _WRONG])
def test_an_answer_that_is_no_list_changes_nothing_and_is_told(bench: Bench, status: int, body: bytes) -> None:
    """Neither claims nor withdraws; the reason is there for /readyz."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.answer = (status, body)
    bench.read(3)
    assert bench.desk.value() == 1
    assert bench.reader.problem()
    bench.grafana.answer = None
    bench.read()
    assert bench.reader.problem() is None


def test_wrong_credentials_and_nobody_there_are_told_apart(bench: Bench) -> None:
    """Whoever mends it wants to know which; wrong ones are tried seldom, for Grafana locks the user out."""
    bench.reader = bench.open(password="wrong")
    assert bench.reader.read() == 600
    assert "answers 401: wrong user" in str(bench.reader.problem())
    bench.grafana.close()
    bench.reader = bench.open()
    assert bench.reader.read() == 30
    assert "does not answer" in str(bench.reader.problem())


def test_an_answer_that_comes_in_drips_is_given_up_and_told(bench: Bench) -> None:
    """A server that hangs in the middle would stop the reading for ever, and nobody would know."""
    bench.grafana.answer = (200, bench.grafana.listed() + b" " * 500_000)  # some blocks
    moments = itertools.count(step=20)
    bench.reader._clock = lambda: next(moments)
    bench.read()
    assert "has not answered all within 30 s" in str(bench.reader.problem())
    bench.reader._clock = lambda: 0
    bench.read()
    assert bench.reader.problem() is None


def test_an_answer_that_breaks_off_changes_nothing_and_is_told(bench: Bench) -> None:
    """A proxy that dies in the middle of the list."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.resolve("hot")
    bench.grafana.cut_bytes = 100_000
    bench.read(3)
    assert bench.desk.value() == 1
    assert "does not answer (ProtocolError)" in str(bench.reader.problem())


def test_after_a_failure_absence_counts_for_nothing_for_a_while(bench: Bench) -> None:
    """A Grafana that has just started does not know yet what is firing."""
    bench.fire_and_tell()
    bench.read()
    bench.grafana.answer = (503, b"")
    bench.read()
    alert = bench.grafana.resolve("hot")
    bench.grafana.answer = None
    bench.read(3)
    assert bench.desk.value() == 1
    bench.moment_s += CLAIM_TTL_S
    bench.grafana.alerts["hot"] = alert
    bench.read()
    bench.grafana.resolve("hot")
    bench.read(2)
    assert bench.desk.value() is None


def test_one_failed_read_between_two_absences_begins_the_count_anew(bench: Bench) -> None:
    """Two in a row, or none."""
    bench.reader._grace_s = 0
    bench.fire_and_tell()
    bench.read()
    bench.grafana.resolve("hot")
    bench.read()
    bench.grafana.answer = (500, b"")
    bench.read()
    bench.grafana.answer = None
    bench.read()
    assert bench.desk.value() == 1
    bench.read()
    assert bench.desk.value() is None


@pytest.mark.parametrize(
    "url", ["grafana:3000", "ftp://grafana", "http://", "http://admin:secret@grafana:3000", "admin:secret@grafana"]
)
def test_a_url_that_cannot_be_asked_is_one_clear_line(url: str) -> None:
    """It names the setting, and shows no password."""
    with pytest.raises(SettingsError, match="--grafana-url: ") as caught:
        sources_of(Settings(grafana_url=url))
    assert "secret" not in str(caught.value)


def test_what_is_not_set_is_not_asked() -> None:
    """Without a URL nothing is read."""
    assert sources_of(Settings()) == []
    both = Settings(grafana_url="http://g:3000", alertmanager_url="https://a:9093/am")
    assert [source.name for source in sources_of(both)] == ["grafana http://g:3000", "alertmanager https://a:9093/am"]
