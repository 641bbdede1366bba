"""The MQTT side: takes messages into the queue, acknowledges those that are stored.

The session is persistent and its client id fixed, so the broker keeps what
comes while the listener is away. A message is acknowledged by `ack` alone.
"""

from collections.abc import Sequence

from listener.queue import Queue
from service.mqtt import Batches, Session
from service.settings import MqttSettings

__all__ = ["Intake"]

# A busy broker sends its messages one by one to whoever is awake for each: a thousand blocks a second are enough.
_REST_S = 0.001


class Intake:
    """The listener's connection to the broker.

    Args:
        filters: what to subscribe to.
        queue: where messages go.
        name: the listener's part of the client id.
        reader: "auto", "block" or "stock", see `service.mqtt.Batches`.

    Raises:
        SettingsError: that reader is not possible, or the CA's certificate cannot be used.
    """

    def __init__(
        self, settings: MqttSettings, filters: Sequence[str], queue: Queue, reader: str = "auto", name: str = "listener"
    ) -> None:
        self._session = Session(
            settings,
            name,
            subscriptions=[(wanted, 1) for wanted in filters],
            batches=Batches(queue.put, queue.room, reader, _REST_S),
            persistent=True,
        )
        self.start = self._session.start
        self.stop = self._session.stop
        self.problem = self._session.problem
        self.ack = self._session.ack
        self.publish_all = self._session.publish_all
