"""The message half of the listener's work: a batch of messages to points, each message by itself.

One that cannot be stored costs its own points and nobody else's. Called on the
writer's thread alone; delivers nothing.
"""

from collections.abc import Iterable

from listener.assemble import Assembler
from listener.decode import Decoder, Refused
from listener.errors import Rejected
from listener.queue import Received
from listener.rejections import Rejections
from service import logs
from store import Point

__all__ = ["Translator"]


class Translator:
    """Turns messages into points.

    Args:
        decoder: reads one message.
        assembler: remembers what came before.
    """

    def __init__(self, decoder: Decoder, assembler: Assembler) -> None:
        self._decoder = decoder
        self._assembler = assembler
        self._rejections = Rejections()
        self._log = logs.get("listener")

    def points(self, batch: Iterable[Received]) -> list[Point]:
        """Return the points of these messages, in their order; what cannot be stored is counted and logged."""
        points: list[Point] = []
        for received in batch:
            try:
                for fact in self._decoder.decode(received.topic, received.payload):
                    if isinstance(fact, Refused):
                        self._rejections.add(received, Rejected(fact.message, fact.reason))
                    else:
                        points += self._assembler.points(fact, received.retain, received.received_ns)
            except Rejected as error:
                self._rejections.add(received, error)
            except Exception as error:  # noqa: BLE001
                # A bug that one message shows must not stop the others: unacknowledged, it would come back for ever.
                self._log.exception("message failed", topic=repr(received.topic[:200]))
                self._rejections.add(received, Rejected(f"{type(error).__name__}: {error}", "other"))
        return points
