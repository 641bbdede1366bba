"""The message half of the listener's work: a batch of messages to points, each message by itself.

One that cannot be stored costs its own points and nobody else's. Called on the
writer's thread alone; delivers nothing.
"""

from collections.abc import Sequence

from listener.assemble import Assembler
from listener.batch import Batch
from listener.decode import Decoder, Refused
from listener.errors import Rejected
from listener.queue import Received
from listener.quick import QuickReader
from listener.rejections import Rejections
from service import logs
from store import Point

__all__ = ["Translator"]

_REASONS = 3  # of a message that are told


class Translator:
    """Turns messages into points.

    Args:
        decoder: reads one message.
        assembler: remembers what came before.
    """

    def __init__(self, decoder: Decoder, assembler: Assembler) -> None:
        self._decoder = decoder
        self._assembler = assembler
        self._quick = QuickReader(decoder.place)
        self._rejections = Rejections()
        self._rejected: list[tuple[Received, str]] = []
        self._log = logs.get("listener")

    def batch(self, messages: Sequence[Received], most_points: int) -> Batch:
        """Return the points of these messages, in their order, up to the first message that makes it so many.

        What cannot be stored is counted and logged, and given to `rejected`.
        """
        points: list[Point] = []
        starts: list[int] = []
        refused: list[Rejected] = []  # of a message
        read, quick = self._quick.read, self._assembler.quick
        for received in messages:
            if len(points) >= most_points:
                break
            starts.append(len(points))
            try:
                if not received.retain:
                    plain = read(received.topic, received.payload)
                    if plain and quick(plain, received.received_ns, points):
                        continue
                for fact in self._decoder.decode(received.topic, received.payload):
                    if isinstance(fact, Refused):
                        refused.append(Rejected(fact.message, fact.reason))
                    else:
                        points += self._assembler.points(fact, received.retain, received.received_ns)
            except Rejected as error:
                # Not the error itself: its traceback leads back to this list, and the garbage collector, which is asked
                # rarely here, would find the payloads of thousands of messages.
                refused.append(Rejected(str(error), error.reason))
            except Exception as error:  # noqa: BLE001
                # A bug that one message shows must not stop the others: unacknowledged, it would come back for ever.
                self._log.exception("message failed", topic=repr(received.topic[:200]))
                refused.append(Rejected(f"{type(error).__name__}: {error}", "other"))
            if refused:
                self._reject(received, refused)
                refused = []
        self._assembler.count()
        return Batch(points, starts, messages[: len(starts)])

    def rejected(self) -> list[tuple[Received, str]]:
        """Return the messages of which something could not be stored since the last call, each with the reasons."""
        found, self._rejected = self._rejected, []
        return found

    def _reject(self, received: Received, refused: Sequence[Rejected]) -> None:
        """Count all that was refused of a message, and give it out once: its letter holds the whole of it."""
        for error in refused:
            self._rejections.add(received, error)
        reasons = [str(error) for error in refused[:_REASONS]]
        if len(refused) > _REASONS:
            reasons.append(f"and {len(refused) - _REASONS} more")
        self._rejected.append((received, "; ".join(reasons)))
