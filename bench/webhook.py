"""The webhook: from a POST to the moment at which a device's subscriber sees the command, beside connect-per-request.

Both webhooks run at the same time against the same mosquitto, and take turns:
the same load for one, then for the other, round after round. Each request is
one alert in Grafana's format that changes what a pin should be, so each makes a
command. Ours answers after the claim is committed (SQLite, `synchronous=FULL`)
and the broker has the command; the baseline commits each body in the same way,
unless `--bare` leaves it without a memory.
"""

import base64
import contextlib
import json
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import paho.mqtt.client as paho

from bench.support import machine, opened, percentile
from tests.support.broker import Broker, Client, running_broker
from tests.support.ports import free_port
from tests.support.processes import Child, owned
from tests.support.wait import until

PASSWORD = "bench-alerts"  # noqa: S105
RATES = (10, 100, 500)
CONNECTIONS = 8
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Commands:
    """A device's subscriber: notes when the command for each pin came."""

    def __init__(self, broker: Broker) -> None:
        self.seen = 0
        self._waiting: dict[str, tuple[float, list[float]]] = {}  # device -> since when, and where its latency goes
        self._client = Client(broker, "bench-device")
        self._client.client.on_message = self._message
        for prefix in (
            "pinloop",
            "baseline",
        ):  # ours would clear what it did not ask for
            self._client.client.subscribe(f"{prefix}/+/pin/+/set", 1)

    def expect(self, device: str, since_s: float, latencies_s: list[float]) -> None:
        """Wait for the next command of a device's pin; `since_s` by the performance counter."""
        self._waiting[device] = (since_s, latencies_s)

    def outstanding(self) -> int:
        """Return how many expected commands have not come."""
        return len(self._waiting)

    def _message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        now_s = time.perf_counter()
        expected = self._waiting.pop(message.topic.split("/")[1], None)
        if expected:
            self.seen += 1
            expected[1].append(now_s - expected[0])

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


class Way:
    """One webhook under load.

    Attributes:
        latencies_ms: rate -> from the intended moment of the request to the command at the subscriber.
        rates: answered requests per second, closed loop, one figure per round.
        cpu_ms: CPU time of its process per request at that rate, one figure per round.
    """

    def __init__(self, name: str, process: Child, port: int, commands: Commands) -> None:
        self.latencies_ms: dict[int, list[float]] = {rate: [] for rate in RATES}
        self.rates: list[float] = []
        self.cpu_ms: list[float] = []
        self.late_ms: list[float] = []
        self._name = name
        self._process = process
        self._port = port
        self._commands = commands
        self._values: dict[str, int] = {}
        word = base64.b64encode(f"alerts:{PASSWORD}".encode()).decode()
        self._head = (
            f"POST /alert HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {word}\r\nContent-Type: application/json\r\n"
        )

    def connect(self) -> socket.socket:
        """Return a connection that is kept open."""
        sock = socket.create_connection(("127.0.0.1", self._port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def post(self, sock: socket.socket, devices: list[str]) -> None:
        """Change what a pin of each device should be, in one request; return when it is answered 200."""
        body = json.dumps(_body([self._alert(device) for device in devices])).encode()
        sock.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _more(sock)
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{self._name}: {answer[:200]!r}")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(rest) < length:
            rest += _more(sock)

    def open_loop(self, rate: int, seconds: float) -> None:
        """Send requests at moments that do not depend on the answers."""
        latencies_s: list[float] = []
        total = int(rate * seconds)
        begin_s = time.perf_counter() + 0.05
        turn = iter(range(total))
        lock = threading.Lock()

        def work() -> None:
            with self.connect() as sock:
                while True:
                    with lock:
                        number = next(turn, None)
                    if number is None:
                        return
                    due_s = begin_s + number / rate
                    time.sleep(max(0.0, due_s - time.perf_counter()))
                    device = f"{self._name}-{rate}-{number % 1000}"
                    self._commands.expect(device, due_s, latencies_s)
                    self.post(sock, [device])

        _together(work)
        self._all_seen()
        self.latencies_ms[rate] += [latency_s * 1000 for latency_s in latencies_s]

    def closed_loop(self, seconds: float) -> None:
        """Send the next request on each connection as soon as the last one is answered."""
        counts: list[int] = []
        latencies_s: list[float] = []
        cpu_s, begin_s = self._cpu_s(), time.perf_counter()

        def work() -> None:
            count, me = 0, threading.current_thread().name
            with self.connect() as sock:
                while time.perf_counter() - begin_s < seconds:
                    device = f"{self._name}-{me}-{count % 100}"
                    self._commands.expect(device, time.perf_counter(), latencies_s)
                    self.post(sock, [device])
                    count += 1
            counts.append(count)

        _together(work)
        took_s = time.perf_counter() - begin_s
        self.rates.append(sum(counts) / took_s)
        self.cpu_ms.append((self._cpu_s() - cpu_s) * 1000 / sum(counts))
        self._all_seen()

    def many_at_once(self, alerts: int) -> float:
        """Return the milliseconds until a body with so many alerts, each for a pin of its own, is answered."""
        devices = [f"{self._name}-many-{number}" for number in range(alerts)]
        with self.connect() as sock:
            self._alert("warm")
            begin_s = time.perf_counter()
            self.post(sock, devices)
            return (time.perf_counter() - begin_s) * 1000

    def _alert(self, device: str) -> dict[str, Any]:
        """Return an alert that asks for the other value than the last one of this device."""
        value = self._values[device] = 1 - self._values.get(device, 0)
        return {
            "status": "firing",
            "labels": {"alertname": "Too warm", "actuate": f"{device}/p={value}", "grafana_folder": "bench"},
            "annotations": {"summary": "31.2 degrees, > 30"},
            # A new episode each time: it is what makes the new value count.
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://localhost:3000/alerting/grafana/pinloop-too-warm/view?orgId=1",
            "fingerprint": device,
            "silenceURL": "http://localhost:3000/alerting/silence/new?alertmanager=grafana",
            "dashboardURL": "",
            "panelURL": "",
            "values": {"B": 31.2, "C": 1},
            "valueString": "[ var='B' labels={} value=31.2 ]",
        }

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def _all_seen(self) -> None:
        until(lambda: self._commands.outstanding() == 0, 10, f"every command of {self._name}")


def _body(alerts: list[dict[str, Any]]) -> dict[str, Any]:
    labels = alerts[0]["labels"]
    return {
        "receiver": "pinloop-webhook",
        "status": "firing",
        "alerts": alerts,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://localhost:3000/",
        "version": "1",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "orgId": 1,
        "title": "[FIRING:1] Too warm",
        "state": "alerting",
        "message": "**Firing**",
    }


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise RuntimeError("the webhook closed the connection")
    return data


def _together(work: Any) -> None:
    """Run `work` on every connection's thread."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (told below, on the main thread)
            failures.append(error)

    threads = [threading.Thread(target=guarded, name=f"c{number}") for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def both_ways(folder: Path, journal: bool) -> Iterator[tuple[Way, Way]]:
    """Run our webhook and the baseline, with or without a journal of its own, on one broker."""
    our_port, its_port = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(running_broker(folder / "broker"))
        environment = {
            **broker.environment(),
            "PINLOOP_HTTP_PORT": str(our_port),
            "PINLOOP_ALERT_PASSWORD": PASSWORD,
            "PINLOOP_OPERATOR_PASSWORD": "bench-operator",
            "PINLOOP_CLAIMS_PATH": str(folder / "claims.db"),
            "PINLOOP_LOG_FORMAT": "json",
        }
        ours = stack.enter_context(owned(["python", "-m", "webhook"], folder / "webhook.out", environment))
        words = [
            "python",
            "-m",
            "bench.connect_per_request",
            broker.port,
            its_port,
            PASSWORD,
            *[folder / "journal.db"] * journal,
        ]
        base = stack.enter_context(owned([*map(str, words)], folder / "baseline.out"))
        for port in (our_port, its_port):
            until(lambda port=port: opened(f"http://127.0.0.1:{port}/readyz"), 20, "both webhooks are ready")
        commands = Commands(broker)
        stack.callback(commands.close)
        yield Way("ours", ours, our_port, commands), Way("base", base, its_port, commands)


def measure(rounds: int, seconds: float, journal: bool) -> dict[str, Any]:
    """Return the figures of so many rounds."""
    many_ms: list[float] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="pinloop-bench-") as name, both_ways(Path(name), journal) as (ours, base):
        for way in (ours, base):
            way.closed_loop(1.0)  # imports, caches, first pages of the database
            way.rates.clear()
            way.cpu_ms.clear()
        for number in range(rounds):
            for way in (ours, base) if number % 2 == 0 else (base, ours):
                for rate in RATES:
                    way.open_loop(rate, seconds)
                way.closed_loop(seconds)
            many_ms.append(ours.many_at_once(1000))
    figures: dict[str, Any] = {}
    for prefix, way in (("", ours), ("baseline_", base)):
        for rate in RATES:
            for share in (50, 99):
                figures[f"{prefix}p{share}_ms_at_{rate}"] = round(percentile(way.latencies_ms[rate], share / 100), 2)
        figures[f"{prefix}max_rate"] = round(statistics.median(way.rates))
        figures[f"{prefix}cpu_ms"] = round(statistics.median(way.cpu_ms), 3)
    figures["rate_vs_baseline"] = round(figures["max_rate"] / figures["baseline_max_rate"], 2)
    figures["cpu_vs_baseline"] = round(figures["cpu_ms"] / figures["baseline_cpu_ms"], 2)
    figures["thousand_alerts_ms"] = round(statistics.median(many_ms), 1)
    return {
        **figures,
        "baseline_journal": journal,
        "rounds": rounds,
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--quick", is_flag=True, help="2 rounds of 1 s instead of 5 of 2 s.")
@click.option("--bare", is_flag=True, help="The baseline keeps nothing: no body is committed before it is answered.")
def main(as_json: bool, quick: bool, bare: bool) -> None:
    """Measure the webhook: latency at 10, 100 and 500 requests/s, highest rate, CPU per request, a thousand alerts."""
    figures = measure(2, 1.0, not bare) if quick else measure(5, 2.0, not bare)
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(f"{figures['rounds']} rounds each, alternating; {figures['machine']}")
    click.echo(f"load average {figures['load_before']} before, {figures['load_after']} after")
    columns = [f"p{share} at {rate}/s" for rate in RATES for share in (50, 99)]
    click.echo(f"{'ms':<22}" + "".join(f"{column:>13}" for column in [*columns, "requests/s", "CPU ms"]))
    for prefix, title in (("", "Pinloop"), ("baseline_", "connect per request")):
        row = [figures[f"{prefix}p{share}_ms_at_{rate}"] for rate in RATES for share in (50, 99)]
        row += [figures[f"{prefix}max_rate"], figures[f"{prefix}cpu_ms"]]
        click.echo(f"{title:<22}" + "".join(f"{value:>13}" for value in row))
    click.echo(
        f"rate {figures['rate_vs_baseline']}x, CPU per request {figures['cpu_vs_baseline']}x; "
        f"1,000 alerts in one body answered in {figures['thousand_alerts_ms']} ms"
    )


if __name__ == "__main__":
    main()
