"""The MQTT side: takes messages into the queue, acknowledges those that are stored.

The session is persistent and its client id fixed, so the broker keeps what
comes while the listener is away. A message is acknowledged by `ack` alone.
"""

import time
from collections.abc import Iterable, Sequence

from listener import metrics
from listener.queue import Queue, Received
from service.mqtt import Message, Session
from service.settings import MqttSettings

__all__ = ["Intake"]


class Intake:
    """The listener's connection to the broker.

    Args:
        filters: what to subscribe to.
        queue: where messages go.
    """

    def __init__(self, settings: MqttSettings, filters: Sequence[str], queue: Queue) -> None:
        self._queue = queue
        self._link = 0
        self._session = Session(
            settings,
            "listener",
            subscriptions=[(wanted, 1) for wanted in filters],
            on_message=self._take,
            on_disconnected=self._unlink,
            persistent=True,
            manual_ack=True,
        )
        self.start = self._session.start
        self.stop = self._session.stop
        self.problem = self._session.problem

    def ack(self, stored: Iterable[Received]) -> None:
        """Acknowledge messages, in the order in which they came; called on the writer's thread.

        Those of an earlier connection are left out: the broker delivers them again, and their packet ids may by now
        belong to messages that are not stored.
        """
        for received in stored:
            if received.link == self._link:
                self._session.ack(received.message)

    def _take(self, message: Message) -> None:
        metrics.MESSAGES.inc()
        try:
            topic = message.topic
        except UnicodeDecodeError:  # MQTT 3.1.1 forbids it, but not every broker looks
            topic = ""
        self._queue.put(Received(message, topic, self._link, time.time_ns()))

    def _unlink(self) -> None:
        self._link += 1
