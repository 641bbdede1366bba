"""A real mosquitto for tests, and a client that reads like a sentence."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.ports import free_port
from tests.support.processes import Child, start
from tests.support.requirements import need
from tests.support.wait import until


class Broker:
    """A mosquitto that the test may stop, kill and start again on the same port.

    Args:
        folder: for its configuration, output and persistence.
        lines: more lines for mosquitto.conf (password_file, acl_file, ...); with them anonymous clients are refused
            unless they say otherwise.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, lines: str = "allow_anonymous true") -> None:
        self.program = need("mosquitto", "apt-get install mosquitto")
        self.folder = folder
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        self.process: Child | None = None
        user = "user root\n" if os.geteuid() == 0 else ""  # as root it would drop to user mosquitto and keep nothing
        self.config.write_text(
            f"{user}listener {self.port} 127.0.0.1\nset_tcp_nodelay true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 10\nmax_queued_messages 100000\n"
            f"max_inflight_messages 1000\nmax_packet_size 262144\n{lines}\n"
        )

    def start(self) -> "Broker":
        """Start it and wait until it accepts connections."""
        self.process = start([self.program, "-c", self.config], self.folder / "mosquitto.out")
        until(self._accepts, 10, "mosquitto accepts connections")
        return self

    def stop(self) -> None:
        """Stop it as an operator would; it saves what it holds."""
        if self.process:
            self.process.end()

    def kill(self) -> None:
        """Kill it with SIGKILL; what it had not saved is gone."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def forget(self) -> None:
        """Delete what it saved; call it while it is not running."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def environment(self) -> Mapping[str, str]:
        """Return the variables that point a service here."""
        return {"PINLOOP_MQTT_HOST": self.host, "PINLOOP_MQTT_PORT": str(self.port)}

    def _accepts(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"mosquitto ended: {self.process.text()}")
        with socket.create_connection((self.host, self.port), 1):
            return True


class Seen(list[paho.MQTTMessage]):
    """Messages in the order in which they came."""

    def until(self, wanted: Callable[[paho.MQTTMessage], object], timeout_s: float = 5) -> paho.MQTTMessage:
        """Return the first message for which `wanted` is true, waiting for it."""
        return until(
            lambda: next((message for message in self if wanted(message)), None),
            timeout_s,
            f"a message; seen {[(m.topic, m.payload) for m in self][-10:]}",
        )

    def topics(self) -> list[str]:
        """Return the topics, in order."""
        return [message.topic for message in self]


class Client:
    """A connected client; use it in a `with` block or call `close`."""

    def __init__(
        self, broker: Broker, client_id: str = "", user: str = "", password: str = "", clean: bool = True
    ) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
        if user:
            self.client.username_pw_set(user, password)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_socket_open = lambda _c, _u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._up = threading.Event()
        self.refused = ""
        self._collections: list[tuple[str, Seen]] = []
        self.client.on_connect = self._connected
        self.client.on_message = self._message
        self._granted = threading.Event()
        self.client.on_subscribe = lambda *_: self._granted.set()
        self.client.connect(broker.host, broker.port, 30)
        self.client.loop_start()
        until(lambda: self._up.is_set() or self.refused, 5, "the broker's CONNACK")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect and end the network thread."""
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, retain: bool = False) -> None:
        """Publish and wait for the PUBACK."""
        self.client.publish(topic, payload, qos, retain).wait_for_publish(5)

    def collect(self, filter: str) -> Seen:  # noqa: A002
        """Return the (growing) list of messages that match; waits for the SUBACK."""
        seen = Seen()
        self._collections.append((filter, seen))
        self._granted.clear()
        self.client.subscribe(filter, 1)
        assert self._granted.wait(5), f"no SUBACK for {filter}"
        return seen

    def _connected(
        self, client: paho.Client, _userdata: object, _flags: object, reason: object, _properties: object
    ) -> None:
        if getattr(reason, "is_failure", False):
            self.refused = str(reason)
            return
        for wanted, _ in self._collections:  # after a reconnect
            client.subscribe(wanted, 1)
        self._up.set()

    def _message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        for wanted, seen in self._collections:
            if paho.topic_matches_sub(wanted, message.topic):
                seen.append(message)


def take_over(host: str, port: int, client_id: str) -> None:
    """Make the broker end a client's connection: someone with its name comes and goes again.

    Its session stays, and nothing of it is acknowledged: a whole client would take messages that nobody has then.
    """
    name = client_id.encode()
    with socket.create_connection((host, port), 5) as sock:
        sock.sendall(bytes((0x10, 12 + len(name), 0, 4)) + b"MQTT" + bytes((4, 0, 0, 0, 0, len(name))) + name)
        answer = sock.recv(4, socket.MSG_WAITALL)
    assert (answer[0], answer[3]) == (0x20, 0), f"the broker refuses {client_id}: {answer.hex()}"


@contextlib.contextmanager
def running_broker(folder: Path, lines: str = "allow_anonymous true") -> Iterator[Broker]:
    """Run a broker for the length of a `with` block."""
    folder.mkdir(parents=True, exist_ok=True)
    broker = Broker(folder, lines).start()
    try:
        yield broker
    finally:
        broker.stop()
