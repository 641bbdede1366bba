"""The listener as a process, between a real mosquitto and a real SQLite file, through what may befall it."""

import contextlib
import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import urllib3
from paho.mqtt.enums import CallbackAPIVersion

from contract.commands import Command
from contract.readings import encode_reading
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client, take_over
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

READING = "pinloop/pot/reading/pot"
# A connection that is kept open delays the end of the HTTP server.
ALONE = {"Connection": "close"}


class Listener:
    """A listener that can be killed and started again, and the store that it writes to."""

    def __init__(self, spawn: Callable[..., Child], broker: Broker, folder: Path) -> None:
        self._spawn = spawn
        self._starts = 0
        self.folder = folder / "data"
        self.dead_path = folder / "dead.jsonl"
        self.spool_path = folder / "spool"
        self.port = free_port()
        self.store = SqliteStore(self.folder / "store.db")
        self.process: Child
        self.environment = {
            **broker.environment(),
            "PINLOOP_LISTENER_HTTP_PORT": str(self.port),
            "PINLOOP_STORE_URL": f"sqlite:{self.folder / 'store.db'}",
            "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(self.dead_path),
            "PINLOOP_LISTENER_SPOOL_PATH": str(self.spool_path),
        }

    def start(self, **environment: str) -> None:
        """Start it; it may not be connected yet."""
        self._starts += 1
        self.process = self._spawn(
            ["python", "-m", "listener"], env={**self.environment, **environment}, name=f"listener-{self._starts}"
        )

    def connected(self, times: int = 1) -> None:
        """Wait until it has connected so many times and hears: a new session misses what came before that."""
        until(lambda: self.process.text().count("broker connected") >= times, 10, "the listener connects")
        until(lambda: "broker" not in self.problems(), 10, "the broker grants its subscriptions")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait(5)

    def problems(self) -> Mapping[str, str]:
        """Return what /readyz complains about."""
        answer = urllib3.request("GET", f"http://127.0.0.1:{self.port}/readyz", headers=ALONE)
        body = json.loads(answer.data)
        assert (answer.status == 200) == body["ok"] == (not body["problems"])
        return dict(body["problems"])

    def metric(self, name: str) -> float:
        """Return the value of a metric, labels and all in `name`."""
        text = urllib3.request("GET", f"http://127.0.0.1:{self.port}/metrics", headers=ALONE).data.decode()
        return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.rsplit(" ", 1)[0] == name), 0)

    def stored(self) -> list[int]:
        """Return the numbers of the stored readings, as often as they are there."""
        return sorted(n for _, _, n, _ in self.store.identities(10**6))


@pytest.fixture
def listener(spawn: Callable[..., Child], broker: Broker, tmp_path: Path) -> Iterator[Listener]:
    """A listener that is connected."""
    running = Listener(spawn, broker, tmp_path)
    running.start()
    running.connected()
    yield running
    running.store.close()


def publish(client: Client, *numbers: int) -> None:
    """Publish readings with these numbers; each is acknowledged by the broker."""
    for n in numbers:
        client.publish(READING, encode_reading(n, n, "k3f9"))


def rows(listener: Listener, field: str) -> int:
    """Return how many values of a field the file holds, whatever the listener believes."""
    with sqlite3.connect(listener.folder / "store.db") as connection:
        sql = "SELECT count(*) FROM samples JOIN series ON id = series WHERE field = ?"
        return int(connection.execute(sql, (field,)).fetchone()[0])


def test_a_reading_is_in_the_store_soon_after_it_was_published(listener: Listener, client: Client) -> None:
    """The healthy case, with health and metrics."""
    publish(client, 61)
    until(lambda: listener.store.latest("pot")["pot"][0] == 61)
    assert listener.problems() == {}
    assert listener.metric("listener_messages_total") == 1
    assert listener.metric('listener_points_stored_total{measurement="readings"}') == 1


def test_every_acknowledged_reading_is_stored_once_whenever_the_listener_is_killed(
    listener: Listener, client: Client
) -> None:
    """SIGKILL at random moments under load: nothing is missing, nothing is twice."""
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    total = 3000
    publishing = threading.Thread(target=publish, args=(client, *range(total)))
    publishing.start()
    for _ in range(4):
        already = len(listener.stored())
        until(lambda already=already: len(listener.stored()) > already or already == total, 10, "the listener stores")
        time.sleep(moments.uniform(0, 0.05))  # not synchronisation: the random moment is what is tested
        listener.kill()
        listener.start()
    publishing.join(30)
    until(lambda: len(listener.stored()) >= total, 10, f"all readings (seed {seed})")
    assert listener.stored() == list(range(total)), f"seed {seed}"
    assert rows(listener, "pot") == total, f"seed {seed}"


def test_a_connection_that_ends_in_mid_burst_again_and_again_loses_nothing(
    listener: Listener, broker: Broker, client: Client
) -> None:
    """Each reading by its number: none is missing, none is twice, although they have no time of their own."""
    wanted = {(device, n) for device in ("pot", "tank") for n in range(1500)}
    for n in range(1500):
        for device in ("pot", "tank"):
            client.client.publish(f"pinloop/{device}/reading/pot", encode_reading(n % 7, n, "k3f9"), 1)
        if n % 100 == 50:  # the broker sends while this goes on
            take_over(broker.host, broker.port, "pinloop-listener")

    def stored() -> list[tuple[str, int]]:
        sql = "SELECT device, value FROM samples JOIN series ON id = series WHERE field = 'n' ORDER BY 1, 2"
        with contextlib.closing(sqlite3.connect(listener.folder / "store.db")) as connection:
            return [(device, int(n)) for device, n in connection.execute(sql)]

    with contextlib.suppress(AssertionError):  # the comparison names those that are missing
        until(lambda: len(stored()) >= len(wanted), 20, every_s=0.1)
    until(lambda: listener.metric("listener_queue_bytes") == 0)
    assert stored() == sorted(wanted)
    assert listener.metric("mqtt_connects_total") > 1


def test_somebody_who_takes_a_session_over_in_passing_acknowledges_nothing(broker: Broker) -> None:
    """What the tests and the soak cut connections with: else they would lose readings themselves."""
    with Client(broker, "pinloop-listener", clean=False) as first:
        first.client.subscribe("pinloop/#", 1)
    with Client(broker) as publisher:
        for n in range(100):
            publisher.publish("pinloop/pot/reading/pot", str(n))
    for _ in range(5):
        take_over(broker.host, broker.port, "pinloop-listener")
    again = paho.Client(CallbackAPIVersion.VERSION2, "pinloop-listener", clean_session=False)
    seen: set[bytes] = set()
    again.on_message = lambda _client, _userdata, message: seen.add(message.payload)
    again.connect(broker.host, broker.port)
    again.loop_start()
    until(lambda: len(seen) == 100, what="all that was published is still there")
    again.disconnect()
    again.loop_stop()


def test_what_is_not_stored_is_not_acknowledged(listener: Listener, client: Client) -> None:
    """Killed while store and spool refuse, the listener gets the same readings again and stores them."""
    listener.spool_path.write_text("in the way")
    listener.folder.rename(listener.folder.with_name("away"))
    listener.folder.write_text("in the way")
    publish(client, *range(20))
    until(lambda: listener.metric("listener_messages_total") == 20)
    until(lambda: {"store", "spool"} <= set(listener.problems()))
    listener.kill()

    listener.folder.unlink()
    listener.folder.with_name("away").rename(listener.folder)
    assert listener.stored() == []
    listener.start()
    until(lambda: listener.stored() == list(range(20)))


def test_a_store_that_comes_back_gets_everything_without_a_restart(listener: Listener, client: Client) -> None:
    """/readyz says what is wrong meanwhile, and a stop in between loses nothing."""
    publish(client, 0)
    until(lambda: listener.stored() == [0])
    listener.folder.rename(listener.folder.with_name("away"))
    listener.folder.write_text("in the way")
    publish(client, *range(1, 100))
    assert "store.db" in until(lambda: listener.problems().get("store"))

    listener.folder.unlink()
    listener.folder.with_name("away").rename(listener.folder)
    until(lambda: listener.stored() == list(range(100)), 10)
    until(lambda: listener.problems() == {})
    assert listener.process.text().count("store fails") == 1


def test_memory_stays_bounded_while_the_store_is_away(
    spawn: Callable[..., Child], broker: Broker, client: Client, tmp_path: Path
) -> None:
    """Beyond the bound (and one block) the broker is not read; it keeps the rest, and pings keep the connection."""
    listener = Listener(spawn, broker, tmp_path)
    listener.folder.write_text("in the way")
    listener.spool_path.write_text("in the way")
    listener.start(PINLOOP_LISTENER_QUEUE_MAX_BYTES="65536", PINLOOP_MQTT_KEEPALIVE_S="1")
    listener.connected()
    for n in range(600):
        client.publish("pinloop/pot/readings", json.dumps({"pot": n, "_n": n, "_b": "k3f9", "_pad": "x" * 2000}))
    until(lambda: "queue" in listener.problems())
    full_bytes = listener.metric("listener_queue_bytes")
    silent_s = time.monotonic() + 3  # mosquitto would give it up after 1.5
    until(lambda: time.monotonic() > silent_s, 5)
    assert listener.metric("listener_queue_bytes") == full_bytes < 65536 + 2 * 262144
    assert listener.metric("mqtt_connects_total") == 1

    listener.folder.unlink()
    until(lambda: listener.stored() == list(range(600)), 15)
    until(lambda: listener.problems() == {})
    assert listener.metric("mqtt_connects_total") == 1


POISONS = [
    (READING, b"sixty"),
    (READING, b"\xff\xfe"),
    (READING, b"[" * 60000),
    (READING, b'{"v":' + b"9" * 6000 + b"}"),
    (READING, b'{"v":NaN}'),
    ("pinloop/pot/readings", b"[{}]"),
    ("pinloop/pot/readings", b'{"time":1}'),
    ("pinloop/pot/status", b"x" * 70000),
    ("pinloop/pot/info", b"[]"),
    ("pinloop/P\u00d6T/reading/pot", b"1"),
    ("pinloop/pot/reading/" + "p" * 40, b"1"),
    ("pinloop/pot/reading/" + "p" * 40000, b"1"),
    ("pinloop/pot/pin/red/set", b'{"v":true}'),
    ("pinloop/pot/pin/red/state", b"null"),
]


def test_poison_never_stops_the_good_ones(listener: Listener, client: Client) -> None:
    """Each bad message is counted; the reading after it is stored; the log stays short."""
    for n in range(50):
        for topic, payload in POISONS:
            client.publish(topic, payload, qos=n % 2)
        publish(client, n)
    until(lambda: listener.stored() == list(range(50)), 10)
    reasons = ("number", "utf8", "json", "size", "reserved", "shape", "device", "name")
    counts = [listener.metric(f'listener_messages_rejected_total{{reason="{reason}"}}') for reason in reasons]
    assert sum(counts) == 50 * len(POISONS)
    assert all(counts)
    assert listener.process.text().count("messages rejected") == len(reasons)
    assert listener.problems() == {}


def test_a_retained_reading_is_not_stored(listener: Listener, client: Client) -> None:
    """Its age is unknown: a restart would draw an old value as a new one."""
    listener.kill()
    client.publish(READING, encode_reading(99, 7, "old1"), retain=True)
    client.publish("pinloop/+/status".replace("+", "pot"), b"online", retain=True)
    listener.start()
    until(lambda: listener.metric('listener_readings_total{outcome="retained"}') >= 1)
    publish(client, 1)
    # The copy that was published while the listener was away is live, and stored: it is no copy of the unknown past.
    until(lambda: 1 in listener.stored())
    assert listener.stored() == [1, 7]
    assert rows(listener, "pot") == 2


def test_after_a_restart_of_the_broker_it_subscribes_again(listener: Listener, broker: Broker, client: Client) -> None:
    """A broker that was killed has forgotten the session."""
    publish(client, 1)
    until(lambda: listener.stored() == [1])
    broker.kill()
    until(lambda: "broker" in listener.problems())
    broker.forget()
    broker.start()
    listener.connected(2)
    with Client(broker) as another:
        publish(another, 2)
    until(lambda: listener.stored() == [1, 2])
    until(lambda: listener.problems() == {})


def test_a_point_that_the_store_refuses_becomes_a_dead_letter(listener: Listener, client: Client) -> None:
    """The others are stored, and after a restart nothing comes again."""
    publish(client, 0)
    until(lambda: listener.stored() == [0])
    with sqlite3.connect(listener.folder / "store.db") as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON samples WHEN NEW.value = 5 BEGIN SELECT RAISE(ABORT, 'not five'); END"
        )
    publish(client, *range(1, 10))
    wanted = [0, 1, 2, 3, 4, 6, 7, 8, 9]
    until(lambda: listener.stored() == wanted and listener.dead_path.exists())
    assert [json.loads(text)["point"]["fields"]["n"] for text in listener.dead_path.read_text().splitlines()] == [5]
    assert listener.process.end() == 0

    listener.start()
    publish(client, 10)
    until(lambda: listener.stored() == [*wanted, 10])
    assert len(listener.dead_path.read_text().splitlines()) == 1


def test_a_clean_stop_stores_and_acknowledges_what_it_took(listener: Listener, client: Client) -> None:
    """SIGTERM under load: exit 0, and the next start completes the count."""
    publishing = threading.Thread(target=publish, args=(client, *range(1000)))
    publishing.start()
    until(lambda: len(listener.stored()) > 100)
    listener.process.send_signal(signal.SIGTERM)
    assert listener.process.wait(10) == 0
    assert "unstored" not in listener.process.text()
    listener.start()
    publishing.join(20)
    until(lambda: len(listener.stored()) >= 1000, 10)
    assert listener.stored() == list(range(1000))
    assert rows(listener, "pot") == 1000


def test_pins_and_devices_are_stored_beside_the_readings(listener: Listener, client: Client) -> None:
    """What Grafana shows under the curves; a new connection's retained copies add nothing."""
    client.publish("pinloop/lights/status", b"online", retain=True)
    for seq in (1, 2):
        command = Command(1, seq, "e", 300, "alert too-bright")
        client.publish("pinloop/lights/pin/red/set", command.encode(), retain=True)
    publish(client, 1)
    until(lambda: listener.stored() == [1])
    assert (rows(listener, "online"), rows(listener, "desired"), rows(listener, "event")) == (1, 2, 1)
    listener.kill()
    listener.start()
    listener.connected()
    publish(client, 2)
    until(lambda: listener.stored() == [1, 2])
    assert (rows(listener, "online"), rows(listener, "desired"), rows(listener, "event")) == (1, 2, 1)


def test_a_seed_device_is_stored_under_the_name_that_it_is_given(
    spawn: Callable[..., Child], broker: Broker, client: Client, tmp_path: Path
) -> None:
    """A bare number on a topic outside the contract."""
    listener = Listener(spawn, broker, tmp_path)
    listener.start(PINLOOP_LISTENER_TOPICS_EXTRA="/pot=seed/pot")
    listener.connected()
    client.publish("/pot", b"61")
    until(lambda: listener.store.latest("seed")["pot"][0] == 61)


@pytest.mark.parametrize(
    ("variable", "value", "code", "says"),
    [
        ("PINLOOP_STORE_URL", "postgres://x", 2, "store_url: 'postgres://x'"),
        ("PINLOOP_LISTENER_TOPICS_EXTRA", "/pot", 2, "topics_extra: '/pot'"),
        ("PINLOOP_MQTT_PREFIX", "#", 2, "mqtt_prefix: prefix: '#'"),
        ("PINLOOP_LISTENER_HTTP_PORT", "taken", 1, "cannot listen on 127.0.0.1"),
    ],
)
def test_a_listener_that_cannot_start_says_why_in_one_line(
    spawn: Callable[..., Child], broker: Broker, tmp_path: Path, variable: str, value: str, code: int, says: str
) -> None:
    """Exit 2 for settings, 1 for a port that is taken (here: by the broker)."""
    listener = Listener(spawn, broker, tmp_path)
    listener.start(**{variable: value.replace("taken", str(broker.port))})
    assert listener.process.wait(10) == code
    assert says in listener.process.text()
    assert listener.process.text().count("\n") == 1
