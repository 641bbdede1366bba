"""The follower: what a list of active alerts does to the claims.

Two halves, as in a notification: what is in the list is asserted, what is no
longer in it ends. The second is only said of senders that are known to be the
one that was asked.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from webhook import metrics
from webhook.active import Active, made_by
from webhook.claims import Claims
from webhook.commands import PinCommand
from webhook.database import Database
from webhook.dialects import FIRING, sender_of

__all__ = ["ALERTMANAGER", "GRAFANA", "Follower", "Source"]

GRAFANA = "grafana"
ALERTMANAGER = "alertmanager"


@dataclass(frozen=True)
class Source:
    """Who is asked.

    Attributes:
        dialect: GRAFANA or ALERTMANAGER.
        url: where it answers, without the path of the API.
        token: sent as Bearer; "" for user and password, or none.
        receiver: only alerts that go to the contact point of this name count; "" for all.
    """

    dialect: str
    url: str
    user: str = ""
    password: str = ""
    token: str = ""
    receiver: str = ""

    @property
    def name(self) -> str:
        """Its name as the sender of what was read there and posted by nobody."""
        return sender_of(self.dialect, self.url)


class Follower:
    """Makes the claims what a list of active alerts says.

    1. An alert that fires is asserted, as if it had been posted; one that was heard of a moment ago is left alone.
    2. One that fires here, comes from the same sender, was in the list once and is not in it, twice in a row, lets go
       of its pins as if its time were over. A notification that came after the list was asked for knows more than the
       list.

    A sender is taken to be the one that is read once one of the alerts that it posted is in the list; until then, and
    for every other sender, absence says nothing. Nor does it of an alert that was never listed: two Grafanas may go by
    one name, and the list of the one says nothing of the other's alerts. Those end with their claims.

    Args:
        claim_ttl_s: how long a claim lasts that is not asserted again.
    """

    def __init__(self, database: Database, claims: Claims, claim_ttl_s: float, source: Source) -> None:
        self._database = database
        self._claims = claims
        self._claim_ttl_s = claim_ttl_s
        self._source = source
        self._absent: set[str] = set()
        with database.lock:
            rows = database.connection.execute("SELECT sender FROM senders WHERE read_at = ?", (source.name,))
            self._senders = {source.name, *(row["sender"] for row in rows)}
            rows = database.connection.execute(
                "SELECT fingerprint, starts_at FROM listed WHERE source = ?", (source.name,)
            )
            self._listed: dict[str, float] = {row["fingerprint"]: row["starts_at"] for row in rows}

    def forget_absences(self) -> None:
        """Begin counting anew: the last list was not read."""
        self._absent.clear()

    def follow(self, listed: Sequence[Active], asked_s: float, now_s: float, may_end: bool = True) -> list[PinCommand]:
        """Apply a list; return the commands to send.

        Args:
            listed: the active alerts, suppressed ones too: those are told to nobody, so they hold nothing.
            asked_s: when the list was asked for, seconds since 1970.
            now_s: seconds since 1970.
            may_end: whether absence counts.
        """
        mine = self._source.receiver
        firing = {
            one.notification.fingerprint: one
            for one in listed
            if one.notifies and (not mine or mine in one.receivers) and one.notification.status == FIRING
        }
        known = {row["fingerprint"]: row for row in self._claims.alerts(0)}
        self._remember({one.notification.fingerprint: one.notification.starts_at for one in listed}, known)
        commands: list[PinCommand] = []
        due = []
        for fingerprint, one in firing.items():
            row, notification = known.get(fingerprint), one.notification
            if row is not None:
                self._learn(row["sender"], row["starts_at"], one)
                same = row["starts_at"] == notification.starts_at
                if same and 0 <= now_s - row["seen_s"] < self._claim_ttl_s / 3:
                    continue
                notification = replace(notification, sender=row["sender"])
            due.append(notification)
        if due:
            results, commands = self._claims.notify(due, now_s)
            metrics.READ_BACK.labels(self._source.dialect, "asserted").inc(len(results))
        absent = {
            fingerprint
            for fingerprint, row in known.items()
            if row["sender"] in self._senders
            and fingerprint not in firing
            and self._listed.get(fingerprint) == row["starts_at"]
            and row["seen_s"] < asked_s
        }
        ended = absent & self._absent if may_end else set()
        self._absent = absent - ended
        if ended:
            commands += self._claims.lapse(ended, f"no longer active in {self._source.dialect}", now_s)
            metrics.READ_BACK.labels(self._source.dialect, "ended").inc(len(ended))
        return commands

    def _remember(self, listed: Mapping[str, float], known: Container[str]) -> None:
        """Note which alerts (fingerprint -> start) the source has, and forget those that it has not and nobody holds.

        A restart must not forget them: their "resolved" may be lost before it or after. A power cut may.
        """
        new = [(self._source.name, *one) for one in listed.items() if self._listed.get(one[0]) != one[1]]
        old = [(self._source.name, one) for one in self._listed if one not in listed and one not in known]
        if not new and not old:
            return
        with self._database.transaction(durable=False):
            self._database.write("REPLACE INTO listed VALUES {rows}", new)
            self._database.write("DELETE FROM listed WHERE (source, fingerprint) IN (VALUES {rows})", old)
        self._listed.update(listed)
        for _, fingerprint in old:
            del self._listed[fingerprint]

    def _learn(self, sender: str, starts_at: float, one: Active) -> None:
        """Note that `sender` is the one that is read: it posted what is in the list."""
        if sender in self._senders or not sender.startswith(self._source.dialect + " "):
            return
        # Alertmanager does not say whose an alert is; that both name the same fingerprint and start must do.
        told = self._source.dialect == GRAFANA or starts_at == one.notification.starts_at
        if told and made_by(sender, one.generator_url):
            with self._database.transaction() as connection:
                connection.execute("REPLACE INTO senders VALUES (?, ?)", (sender, self._source.name))
            self._senders.add(sender)
