"""The writer: one thread that turns queued messages into points, has them delivered, and acknowledges them.

A message is acknowledged when its points are in the store, in the spool or in
the dead-letter file, never before.
"""

from collections.abc import Callable, Sequence

from listener.assemble import Assembler
from listener.batch import Batch
from listener.census import NAMES_MAX_BYTES
from listener.dead import DeadLetters
from listener.decode import Decoder
from listener.delivery import Delivery, Stopped
from listener.queue import Queue, Received
from listener.translate import Translator
from service import logs
from service.failpoints import crash_at

__all__ = ["Writer"]


class Writer:
    """Moves messages from the queue to the stores.

    Args:
        dead: keeps messages that cannot be read.
        ack: acknowledges messages to the broker.
        batch_max_points: most points in one write, but for the last message's.
        slot: of a listener that shares with others, see `Stamps`.
        names_max_bytes: see `Census`.
        relay: gets what is delivered and acknowledged; must neither block nor raise.
    """

    def __init__(
        self,
        queue: Queue,
        decoder: Decoder,
        delivery: Delivery,
        dead: DeadLetters,
        ack: Callable[[Sequence[Received]], None],
        *,
        batch_max_points: int,
        slot: int = 0,
        names_max_bytes: int = NAMES_MAX_BYTES,
        relay: Callable[[Batch], None] | None = None,
    ) -> None:
        self._queue = queue
        self._delivery = delivery
        self._dead = dead
        self._ack = ack
        self._relay = relay
        self._batch_max_points = batch_max_points
        self._assembler = Assembler(slot, names_max_bytes)
        self._translator = Translator(decoder, self._assembler)
        self._log = logs.get("listener")

    def run(self) -> None:
        """Work until the queue is closed and empty, or until the delivery is stopped while it can deliver nothing."""
        self._delivery.start()
        try:
            while messages := self._queue.take(self._batch_max_points):
                self._work(messages)
        except Stopped:
            self._log.warning("stopped with messages that are nowhere safe, the broker keeps them")

    def _work(self, messages: Sequence[Received]) -> None:
        while messages:
            self._assembler.preload(self._delivery.news())
            batch = self._translator.batch(messages, self._batch_max_points)
            taken, messages = messages[: len(batch.starts)], messages[len(batch.starts) :]
            self._delivery.deliver(batch)
            self._dead.add_messages(self._translator.rejected())
            crash_at("writer.safe")
            self._ack(taken)
            crash_at("writer.acknowledged")
            if self._relay:
                self._relay(batch)
