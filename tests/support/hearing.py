"""The listener from the broker's bytes to the store's lines, in one process: everything that remembers, no socket."""

import time
from collections.abc import Iterable

from inputs.declared import Inputs
from listener.assemble import Assembler
from listener.batch import Batch
from listener.decode import Decoder
from listener.foreign import foreign
from listener.refused import refused
from listener.translate import Translator
from service.packets import Received, Scanner
from store import Point
from store.lines import lines
from tests.support.wire import publish

__all__ = ["Hearing"]

_BLOCK_BYTES = 1 << 18
_MOST_POINTS = 5000


class Hearing:
    """Takes messages as the broker sends them, many in a block.

    Attributes:
        decoder: its decoder.
        refused: points that no store takes, and why.
    """

    def __init__(self, inputs: Inputs, names_max_bytes: int | None = None) -> None:
        self.decoder = Decoder("pinloop", "", foreign(inputs))
        self._translator = Translator(
            self.decoder, Assembler() if names_max_bytes is None else Assembler(0, names_max_bytes)
        )
        self.refused: list[tuple[Point, str]] = []
        self._scanner = Scanner()
        self._block = bytearray()
        self._count = 0

    def put(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Add a message to the block; return whether that is large enough to be heard."""
        self._block += publish(topic.encode(), payload, 0, retain=retain)
        self._count += 1
        return len(self._block) >= _BLOCK_BYTES

    def hear(self) -> Iterable[tuple[Batch, list[Received]]]:
        """Yield batches of the block, each with the messages of which something was rejected."""
        found: list[Received] = []
        self._scanner.scan(bytes(self._block), 0, 0, time.time_ns(), found)
        assert len(found) == self._count
        self._block.clear()
        self._count = 0
        while found:
            batch = self._translator.batch(found, _MOST_POINTS)
            self.refused += [(batch.points[index], str(why)) for index, why in refused(lines, batch.points)]
            found = found[len(batch.starts) :]
            yield batch, [received for received, _ in self._translator.rejected()]
