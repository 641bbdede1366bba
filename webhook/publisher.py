"""The publisher: commands out, over the service's one connection.

Sends retained QoS 1 messages in the order in which the database made them, and
waits for the broker's PUBACKs outside the lock. What cannot be sent is not
queued here: the reconciler finds it missing when the broker is back.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from contract.commands import Command
from contract.limits import MAX_BY_CHARS, MAX_COMMAND_BYTES
from contract.topics import PIN_SET, Topics
from service.failpoints import crash_at
from service.mqtt import NotConnected, Outgoing, Publication, Session
from webhook import metrics
from webhook.arbiter import SAFETY
from webhook.commands import Pin, PinCommand
from webhook.database import Database
from webhook.quarantine import Quarantine

__all__ = ["NEW", "RECONCILED", "RELEASED", "RENEWED", "Publisher", "Sent", "payload_of"]

NEW = "new"
RENEWED = "renewed"
RELEASED = "released"
RECONCILED = "reconciled"

_MOST_TOPICS = 65536  # that are remembered


def payload_of(command: PinCommand, epoch: str) -> bytes:
    """Return the payload of `set` for a command: empty when the pin is released, or in dry-run.

    Slot `safety` is forced whatever the value: which value is safe is the device's to say.
    """
    if command.value is None or command.dry_run:
        return b""
    by = f"{command.slot} {command.source}"[:MAX_BY_CHARS]
    if not by.isprintable():
        by = "".join(char if char.isprintable() else " " for char in by)
    while True:
        payload = Command(command.value, command.seq, epoch, command.ttl_s, by, command.slot == SAFETY).encode()
        if len(payload) <= MAX_COMMAND_BYTES:
            return payload
        by = by[: len(by) // 2]  # letters beyond ASCII take up to 12 bytes each


@dataclass(frozen=True, slots=True)
class Sent:
    """A command on its way to the broker."""

    command: PinCommand
    publication: Publication
    at: float


class Publisher:
    """Sends what the claims ask for.

    Args:
        quarantine: of the messages of `session`.

    Attributes:
        acked: (pin, seq, seconds since 1970) of PUBACKs that nobody has recorded yet.
    """

    def __init__(self, session: Session, topics: Topics, database: Database, quarantine: Quarantine) -> None:
        self._session = session
        self._quarantine = quarantine
        self._topic = lru_cache(_MOST_TOPICS)(partial(topics.build, PIN_SET))
        self._database = database
        self.acked: deque[tuple[Pin, int, float]] = deque(maxlen=100_000)

    def carry_out(self, decide: Callable[[], Sequence[PinCommand]], reason: str = NEW, timeout_s: float = 2.0) -> int:
        """Run a change of the claims, send the commands that follow, and return how many the broker has by then.

        Deciding and sending happen under the database's lock, so that a pin's commands leave in the order of their
        seq; waiting for the PUBACKs does not.

        Args:
            decide: commits the change and returns the commands to send.
            reason: for the counter; a release counts as "released" whatever caused it.
            timeout_s: longest time to wait for PUBACKs, seconds.

        Raises:
            sqlite3.Error: the change could not be committed; nothing was sent.
        """
        with self._database.lock:
            sent = self.send(decide(), reason)
        return self.confirmed(sent, timeout_s)

    def send(self, commands: Sequence[PinCommand], reason: str = NEW) -> list[Sent]:
        """Send commands, without waiting; the caller holds the lock since they were decided."""
        if commands:
            crash_at("claims.committed")
        going: list[tuple[PinCommand, Outgoing]] = []
        for command in commands:
            topic = self._topic(command.device, command.pin)
            if command.dry_run:
                metrics.DRY_RUN_COMMANDS.inc()
            elif not self._quarantine.holds(topic):
                going.append((command, Outgoing(topic, payload_of(command, self._database.epoch), retain=True)))
        if not going:
            return []
        at = time.monotonic()
        try:
            publications = self._session.publish_all([message for _, message in going])
        except NotConnected:
            metrics.UNSENT.inc(len(going))
            return []
        crash_at("command.sent")
        released = sum(command.value is None for command, _ in going)
        metrics.PUBLISHED.labels(RELEASED).inc(released)
        metrics.PUBLISHED.labels(reason).inc(len(going) - released)
        sent: list[Sent] = []
        for (command, message), publication in zip(going, publications, strict=True):
            self._quarantine.sent(message.topic, publication)
            sent.append(Sent(command, publication, at))
        return sent

    def confirmed(self, sent: Sequence[Sent], timeout_s: float = 2.0) -> int:
        """Return how many of those the broker has acknowledged within `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        if sent:
            sent[-1].publication.wait(timeout_s)  # the others land before it (MQTT 3.1.1 section 4.6): one wait for all
        return sum(self._confirm(one, deadline) for one in sent)

    def withdraw(self, pin: Pin) -> None:
        """Release a pin that is in dry-run now: nobody stands behind the command that was sent before."""
        try:
            self._session.publish_all([Outgoing(self._topic(*pin), b"", retain=True)])
        except NotConnected:
            metrics.UNSENT.inc()
            return
        metrics.PUBLISHED.labels(RELEASED).inc()

    def quarantined(self, pin: Pin) -> str:
        """Say why nothing is sent to the pin for a while, "" when it is."""
        return self._quarantine.reason([self._topic(*pin)])

    def _confirm(self, sent: Sent, deadline: float) -> bool:
        if not sent.publication.wait(max(0.0, deadline - time.monotonic())):
            return False
        metrics.PUBACK_S.observe(time.monotonic() - sent.at)
        command = sent.command
        crash_at("command.acknowledged")
        self.acked.append(((command.device, command.pin), command.seq, time.time()))
        return True
