"""Finding packets in blocks of bytes, however they are cut."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.block_client import BlockClient
from service.packets import Malformed, Received
from tests.support.wire import packet, publish

PACKETS = st.one_of(
    st.builds(publish, st.binary(min_size=1, max_size=3), st.binary(max_size=200), st.integers(0, 65535)),
    st.sampled_from([packet(0xD0, b""), packet(0x40, b"\0\1"), packet(0xB0, b"\0\1")]),
)


def taken(pieces: list[bytes]) -> list[Any]:
    """Return what a client delivers of pieces that come one after the other, without what tells when."""
    found: list[Received] = []
    client = BlockClient(found.extend, lambda timeout_s: True, client_id="x")
    client.on_unsubscribe = None
    for piece in pieces:
        client._take(piece)
    return [(one.topic, one.payload, one.mid, one.qos, one.retain) for one in found]


@given(st.lists(PACKETS, max_size=20), st.lists(st.integers(0, 2000), max_size=6))
def test_wherever_a_stream_is_cut_the_same_messages_come(packets: list[bytes], cuts: list[int]) -> None:
    """In their order; the other packets between them are paho's."""
    stream = b"".join(packets)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert taken(pieces) == taken(packets)
    assert len(taken(pieces)) == sum(one[0] & 0xF0 == 0x30 for one in packets)


@given(st.binary(max_size=300) | st.lists(PACKETS | st.binary(max_size=5), max_size=8).map(b"".join))
def test_no_bytes_do_more_than_end_the_connection(stream: bytes) -> None:
    """Whatever is not MQTT is Malformed, and nothing else is raised."""
    try:
        taken([stream])
    except Malformed:
        pass
