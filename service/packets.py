"""MQTT packets in a block of bytes: finds the PUBLISH packets and says where the others are.

Pure: no socket, no clock. Tens of thousands of messages a second pass here,
so one message costs one object, and a topic is decoded once.

Source: MQTT 3.1.1 (OASIS), sections 2.2 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK), 3.7 (PUBCOMP)
"""

import sys
from array import array
from collections.abc import Iterable

import msgspec

from contract.limits import MAX_PAYLOAD_BYTES
from service.remembered import Remembered

__all__ = [
    "MOST_PACKET_BYTES", "MOST_TOPIC_CHARS", "PUBLISH", "Malformed", "Received", "Scanner", "acknowledgements",
    "header",
]  # fmt: skip

PUBLISH = 0x30
# Topic, packet id and one byte more of payload than anything of ours takes: a packet beyond it is cut there, so that
# its payload is refused for its size, and a broker without a limit cannot fill our memory.
MOST_PACKET_BYTES = 2 + 65535 + 2 + MAX_PAYLOAD_BYTES + 1
# Ours have at most 146, firmware of others perhaps more. What is longer is cut after one more, so that it is refused.
MOST_TOPIC_CHARS = 256
_MOST_TOPICS_BYTES = 4 << 20
_PUBACK, _PUBCOMP = 0x4002, 0x7002  # type and remaining length


class Malformed(ValueError):  # noqa: N818  (a state of the connection, like EOFError)
    """Not MQTT: the connection cannot be read any further."""


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message as it came.

    Attributes:
        topic: its topic, "" when it is not UTF-8 (MQTT 3.1.1 forbids that, but not every broker looks); at
            most MOST_TOPIC_CHARS + 1 characters of it.
        payload: at most MOST_PACKET_BYTES of it.
        retain: the broker kept it: it is old by an unknown time.
        qos: 0, 1 or 2.
        mid: its packet id, 0 at QoS 0.
        link: the number of the connection on which it came.
        received_ns: when, nanoseconds since 1970.
    """

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 0
    mid: int = 0
    link: int = 0
    received_ns: int = 0


class Scanner:
    """Reads PUBLISH packets of QoS 0 and 1; remembers the topics that it has seen."""

    def __init__(self) -> None:
        self._topics = Remembered[bytes, str](_MOST_TOPICS_BYTES)

    def scan(self, data: bytes, at: int, link: int, received_ns: int, found: list[Received]) -> int:
        """Append the messages from `at` on to `found`, and return the start of the first packet that is none.

        That is a packet of another kind, of QoS 2, of more than MOST_PACKET_BYTES, or the last one, which is not whole.

        Raises:
            Malformed: a length inside a packet says more than the packet holds.
        """
        end = len(data) - 1
        topics = self._topics
        append = found.append
        while at < end:
            first = data[at]
            if first & 0xF4 != PUBLISH:  # another kind, or QoS 2 (or 3)
                break
            length = data[at + 1]
            body = at + 2
            if length > 127:
                known = header(data, at)
                if known is None or known[1] > MOST_PACKET_BYTES:
                    break
                body, length = known
            stop = body + length
            if stop > end + 1:
                break
            start = body + 2
            if start > stop:
                raise Malformed("a PUBLISH without the length of its topic")
            payload = start + (data[body] << 8 | data[body + 1])
            name = data[start:payload]
            topic = topics.get(name)
            if topic is None:
                topic = self._learn(name)
            if first & 0x02:
                ends, payload = payload, payload + 2
                if payload > stop:
                    raise Malformed("a PUBLISH whose topic does not end within it")
                mid = data[ends] << 8 | data[ends + 1]
                append(Received(topic, data[payload:stop], first & 1 == 1, 1, mid, link, received_ns))
            else:
                if payload > stop:
                    raise Malformed("a PUBLISH whose topic does not end within it")
                append(Received(topic, data[payload:stop], first & 1 == 1, 0, 0, link, received_ns))
            at = stop
        return at

    def _learn(self, name: bytes) -> str:
        try:
            topic = name.decode()[: MOST_TOPIC_CHARS + 1]
        except UnicodeDecodeError:
            return ""
        self._topics.keep(name, topic, 2 * len(name))
        return topic


def header(data: bytes, at: int) -> tuple[int, int] | None:
    """Return (start, length) of what follows the fixed header of the packet at `at`, None when it is not whole yet.

    Raises:
        Malformed: the length has more than four bytes.
    """
    length = 0
    for index in range(4):
        position = at + 1 + index
        if position >= len(data):
            return None
        byte = data[position]
        length |= (byte & 127) << (7 * index)
        if byte < 128:
            return position + 1, length
    raise Malformed("a length of more than four bytes")


def acknowledgements(received: Iterable[Received], link: int) -> bytes:
    """Return the PUBACK (QoS 2: PUBCOMP) packets for those that came on the connection `link`, in their order."""
    words: list[int] = []
    for one in received:
        if one.link == link and one.qos:
            words += (_PUBACK if one.qos == 1 else _PUBCOMP, one.mid)
    packed = array("H", words)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()
