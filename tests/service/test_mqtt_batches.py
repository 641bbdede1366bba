"""Messages in batches, read by blocks and by paho as it comes: the same promises, also when a broker is bad."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from service import block_client, mqtt
from service.errors import SettingsError
from service.mqtt import Batches, Session
from service.packets import MOST_PACKET_BYTES, Received
from service.settings import MqttSettings
from tests.support.broker import Broker, Client
from tests.support.tls import secured_broker
from tests.support.wait import until
from tests.support.wire import Wire, packet, publish


class Taker:
    """Takes what a session delivers.

    Attributes:
        batches: as they were delivered.
        open: whether there is room for more.
    """

    def __init__(self, settings: MqttSettings, reader: str) -> None:
        self.batches: list[list[Received]] = []
        self.open = True
        self.session = Session(
            settings, "taker", subscriptions=[("#", 1)], persistent=True,
            batches=Batches(self.batches.append, self._room, reader, rest_s=0.001),
        )  # fmt: skip
        self.session.start()

    @property
    def seen(self) -> list[Received]:
        return list(itertools.chain(*self.batches))

    def got(self, count: int) -> list[Received]:
        """Wait for so many messages, and return all."""
        until(lambda: len(self.seen) >= count, what=f"{count} messages; seen {len(self.seen)}")
        return self.seen

    def _room(self, timeout_s: float) -> bool:
        if not self.open:
            time.sleep(min(timeout_s, 0.02))  # as a queue does
        return self.open


@pytest.fixture(params=["block", "stock"])
def reader(request: pytest.FixtureRequest) -> str:
    """Both ways of reading."""
    return str(request.param)


@pytest.fixture
def take() -> Iterator[Callable[[MqttSettings, str], Taker]]:
    """Return `take(settings, reader)`: starts a taker that is stopped when the test ends."""
    takers: list[Taker] = []

    def start(settings: MqttSettings, reader: str) -> Taker:
        takers.append(Taker(settings, reader))
        return takers[-1]

    yield start
    for taker in takers:
        taker.open = True
        taker.session.stop()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A broker that says what the test wants."""
    with_bytes = Wire()
    yield with_bytes
    with_bytes.close()


@pytest.fixture
def taker(wire: Wire, reader: str, take: Callable[[MqttSettings, str], Taker]) -> Taker:
    """A taker that is connected to it."""
    started = take(MqttSettings(mqtt_port=wire.port, mqtt_keepalive_s=60), reader)
    wire.accept()
    assert started.session.wait_connected(5)
    return started


def test_a_message_says_all_that_its_packet_says(wire: Wire, taker: Taker) -> None:
    """QoS 0 and 1, retained, redelivered, of every length of length, and a topic that is not UTF-8."""
    wire.send(
        publish(b"a", b"1") + publish(b"a/b", b"", 7, retain=True) + publish(b"c", b"x" * 200, 65535, dup=True)
        + publish(b"d", b"y" * 20000, 8) + publish(b"\xff\xfe", b"2")
    )  # fmt: skip
    assert [(one.topic, len(one.payload), one.qos, one.mid, one.retain) for one in taker.got(5)] == [
        ("a", 1, 0, 0, False), ("a/b", 0, 1, 7, True), ("c", 200, 1, 65535, False), ("d", 20000, 1, 8, False),
        ("", 1, 0, 0, False),
    ]  # fmt: skip
    assert abs(taker.seen[0].received_ns / 1e9 - time.time()) < 5


def test_acknowledgements_leave_in_the_order_of_the_messages(wire: Wire, taker: Taker) -> None:
    """Each once; none for QoS 0."""
    wire.send(publish(b"a", b"1", 3) + publish(b"a", b"2") + publish(b"a", b"3", 300))
    taker.session.ack(taker.got(3))
    assert [wire.next() for _ in range(2)] == [(0x40, b"\0\3"), (0x40, b"\1\x2c")]


def test_what_began_on_a_connection_that_ended_is_void(wire: Wire, taker: Taker) -> None:
    """The broker sends the message again, whole; what was acknowledged too late is not acknowledged now."""
    whole = publish(b"a", b"x" * 1000, 1)
    wire.send(publish(b"a", b"before", 9) + whole[:500])
    before = taker.got(1)
    wire.accept()
    until(lambda: taker.session.connected)
    taker.session.ack(before)
    wire.send(whole)
    found = taker.got(2)
    assert [len(one.payload) for one in found] == [6, 1000]
    assert found[0].link != found[1].link
    taker.session.ack(found)
    assert wire.next() == (0x40, b"\0\1")


def test_a_message_of_qos_2_comes_once_and_ends_when_it_is_acknowledged(wire: Wire, taker: Taker) -> None:
    """Between others, and sent again before its PUBREL."""
    twice = publish(b"a", b"once", 5, qos=2)
    wire.send(publish(b"a", b"first") + twice + publish(b"a", b"then") + b"\x3c" + twice[1:])
    assert [wire.next() for _ in range(2)] == [(0x50, b"\0\5")] * 2
    assert [one.payload for one in taker.seen] == [b"first", b"then"]
    wire.send(b"\x62\2\0\5")
    last = taker.got(3)[-1]
    assert (last.payload, last.qos) == (b"once", 2)
    taker.session.ack([last])
    assert wire.next() == (0x70, b"\0\5")


@pytest.mark.parametrize(
    "bad",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x00\x00",  # a kind that does not exist
    ],
)
def test_what_is_not_mqtt_ends_the_connection_and_nothing_else(wire: Wire, taker: Taker, bad: bytes) -> None:
    """What came before it is delivered; the session is back by itself."""
    wire.send(publish(b"a", b"good") + bad)
    wire.accept()
    wire.send(publish(b"a", b"again"))
    assert [one.payload for one in taker.got(2)] == [b"good", b"again"]


@pytest.mark.parametrize("reader", ["block"], indirect=True)
@pytest.mark.parametrize(
    "bad",
    [
        b"\x30\x01a",  # no room for the length of its topic
        b"\x30\x03\x00\x05a",  # a topic that is longer than its packet
        b"\x32\x03\x00\x01a",  # QoS 1 without a packet id
        packet(0x62, b"x"),  # a PUBREL that is too short
        b"\x20\xff\xff\xff\x7f" + bytes(MOST_PACKET_BYTES),  # another kind of 256 MB
    ],
)
def test_lengths_that_lie_end_the_connection_too(wire: Wire, taker: Taker, bad: bytes) -> None:
    """Stock paho would deliver rubbish for some, and lose its thread over others."""
    wire.send(publish(b"a", b"good") + bad)
    wire.accept()
    wire.send(publish(b"a", b"again"))
    assert [one.payload for one in taker.got(2)] == [b"good", b"again"]


@pytest.mark.parametrize("reader", ["block"], indirect=True)
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_that_is_too_large_is_cut_and_the_next_one_is_whole(wire: Wire, taker: Taker, qos: int) -> None:
    """A broker without a limit cannot fill our memory; acknowledged, the message does not come for ever."""
    wire.send(publish(b"a", b"x" * 1_000_000, 6 * qos) + publish(b"a", b"next", 7))
    large, following = taker.got(2)
    assert MOST_PACKET_BYTES - 100 < len(large.payload) <= MOST_PACKET_BYTES
    assert (large.topic, large.mid, following.payload) == ("a", 6 * qos, b"next")
    taker.session.ack([large, following])
    assert [wire.next() for _ in range(1 + qos)] == [(0x40, b"\0\6")] * qos + [(0x40, b"\0\7")]


@pytest.mark.parametrize("reader", ["block"], indirect=True)
def test_without_room_nothing_is_read_but_acknowledgements_leave_and_pings_keep_the_connection(
    wire: Wire, take: Callable[[MqttSettings, str], Taker], reader: str
) -> None:
    """The broker's answers to the pings are behind messages that we do not read, so their absence says nothing."""
    taker = take(MqttSettings(mqtt_port=wire.port, mqtt_keepalive_s=1), reader)
    wire.accept()
    wire.send(publish(b"a", b"1", 1))
    first = taker.got(1)
    taker.open = False
    wire.send(publish(b"a", b"2", 2))
    assert [wire.next()[0] for _ in range(2)] == [0xC0] * 2  # two silent keepalives
    taker.session.ack(first)
    assert wire.next() == (0x40, b"\0\1")
    assert len(taker.seen) == 1
    taker.open = True
    assert taker.got(2)[1].payload == b"2"
    assert taker.seen[1].link == taker.seen[0].link


@pytest.mark.parametrize("reader", ["block"], indirect=True)
def test_what_comes_while_the_reader_rests_is_one_batch(
    wire: Wire, taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that comes alone is delivered first; who is awake for each pays for each."""
    resting, over = threading.Event(), threading.Event()

    def sleep(_seconds: float) -> None:
        if taker.batches:
            resting.set()
            over.wait(10)

    monkeypatch.setattr(block_client, "time", SimpleNamespace(time_ns=time.time_ns, sleep=sleep))
    wire.send(publish(b"a", b"1", 1))
    assert resting.wait(10)
    wire.send(publish(b"a", b"2", 2))
    wire.send(publish(b"a", b"3", 3))
    over.set()
    taker.got(3)
    assert [[one.mid for one in batch] for batch in taker.batches] == [[1], [2, 3]]


def test_over_tls_whatever_is_decrypted_is_read(
    tmp_path, reader: str, take: Callable[[MqttSettings, str], Taker]
) -> None:
    """Messages of many records, and many messages in one: select does not see what TLS holds."""
    with secured_broker(tmp_path / "broker", days=100) as secured, Client(secured.broker) as client:
        settings = MqttSettings(mqtt_host="localhost", mqtt_port=secured.tls_port, mqtt_ca_path=secured.ca_path)
        taker = take(settings, reader)
        assert taker.session.wait_connected(5)
        sizes = [60000, 10, 16384, 5] * 5 + [20] * 500
        for size in sizes:
            client.client.publish("t", b"x" * size, 1)
        assert [len(one.payload) for one in taker.got(len(sizes))] == sizes


def test_what_was_acknowledged_before_a_stop_does_not_come_again(
    broker: Broker, client: Client, reader: str, take: Callable[[MqttSettings, str], Taker]
) -> None:
    """The acknowledgements leave before the DISCONNECT, and mosquitto sees a client that said goodbye."""
    settings = MqttSettings(mqtt_port=broker.port)
    taker = take(settings, reader)
    assert taker.session.wait_connected(5)
    for n in range(300):
        client.client.publish("t", str(n), 1)
    taker.session.ack(taker.got(300))
    taker.session.stop()
    process = broker.process
    assert process is not None
    until(lambda: "Client pinloop-taker disconnected." in process.text(), what="mosquitto sees the DISCONNECT")
    again = take(settings, reader)
    assert again.session.wait_connected(5)
    client.publish("t", "new")
    assert [one.payload for one in again.got(1)] == [b"new"]


@pytest.mark.long
def test_pings_are_in_time_under_load(
    broker: Broker, client: Client, take: Callable[[MqttSettings, str], Taker]
) -> None:
    """A keepalive of a second, five seconds of as many messages as there can be: one connection."""
    taker = take(MqttSettings(mqtt_port=broker.port, mqtt_keepalive_s=1), "block")
    assert taker.session.wait_connected(5)
    end_s = time.monotonic() + 5
    sent = acknowledged = 0
    while time.monotonic() < end_s:
        for _ in range(199):
            client.client.publish("t", b"x")
        client.client.publish("t", b"x" * 100, 1).wait_for_publish(5)
        sent += 200
        seen = taker.seen[acknowledged:]
        taker.session.ack(seen)  # the broker stops at a thousand that wait for it
        acknowledged += len(seen)
    found = taker.got(sent)
    assert len({one.link for one in found}) == 1


def test_the_paho_that_is_installed_is_as_the_block_reader_expects() -> None:
    """When this fails, paho has changed inside: look at service/block_client.py before raising the version."""
    assert block_client.unusable() == ""


@pytest.mark.parametrize("name", ["_sock_recv", "_packet_handle", "_loop_rc_handle"])
def test_a_paho_that_has_changed_is_read_as_it_comes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `auto`, and the log says so; who insists on blocks is told at the start."""
    monkeypatch.delattr(mqtt.paho.Client, name)
    settings = MqttSettings(mqtt_port=1)
    batches = Batches(lambda batch: None, lambda timeout_s: True)
    session = Session(settings, "taker", batches=batches)
    assert type(session._client) is mqtt.paho.Client
    with pytest.raises(SettingsError, match=f"mqtt_reader: 'block' .*{name}"):
        Session(settings, "taker", batches=Batches(batches.deliver, batches.room, "block"))
