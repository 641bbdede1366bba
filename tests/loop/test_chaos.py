"""The whole loop under random kills: nothing acknowledged is lost or doubled, every pin ends as its claims say.

Real mosquitto, real MicroPython devices, the real services, run by the real
supervisor. `PINLOOP_CHAOS_S` sets the length (60 s), `PINLOOP_CHAOS_SEED` repeats a run.
"""

import base64
import collections
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from firmware.sim.engine import find
from pinloop.local.layout import Layout, Ports
from pinloop.local.run import Loop, running_loop
from store.sqlite import SqliteStore
from tests.support.ports import free_port
from tests.support.processes import children, descendants
from tests.support.requirements import missing, need
from tests.support.wait import until

LENGTH_S = float(os.environ.get("PINLOOP_CHAOS_S", "60"))
VICTIMS = ("broker", "listener", "webhook", "rules", "device pot", "device lights")
RULES = """\
version: 1
rules:
  - name: too-bright
    when: pot > 80
    clear: pot < 70
    then: [lights/red = 1, lights/green = 0]
"""
# What the broker acknowledged in the last second before its own kill may be gone with it (it saves every 10 s).
LOSS_WINDOW_S = 1.0


@dataclass
class Acknowledged:
    """The readings that the broker acknowledged to the device, as the device itself wrote them down.

    Attributes:
        seen_at_s: (boot, n) -> when this process first saw the line, monotonic seconds.
    """

    path: Path
    seen_at_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def look(self) -> None:
        """Take in new lines; called all the time, so that their times are true to some milliseconds."""
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                boot, _, n = line.partition(" ")
                if n:
                    self.seen_at_s.setdefault((boot, int(n)), time.monotonic())


@dataclass
class Chaos:
    """A loop that something terrible happens to every second or two."""

    layout: Layout
    ports: Ports
    loop: Loop
    acknowledged: Acknowledged
    kills: list[tuple[float, str]] = field(default_factory=list)

    def tend(self, seconds: float) -> None:
        """Let the supervisor work for so long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.loop.tend()
            self.acknowledged.look()
            time.sleep(0.02)

    def until(self, probe: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait for something while the supervisor works."""
        until(lambda: (self.tend(0.02), probe())[1], timeout_s, what)

    def kill(self, name: str) -> None:
        """Kill a part with SIGKILL; of a device the firmware's interpreter, which is the power cut."""
        runner = next(runner for runner in self.loop.supervisor.runners if runner.part.name == name)
        if not runner.alive:
            return
        assert runner.process is not None
        pids = children(runner.process.pid) if name.startswith("device") else [runner.process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.kills.append((time.monotonic(), name))

    def ready(self, name: str) -> bool:
        """Tell whether a part says that it is ready."""
        runner = next(runner for runner in self.loop.supervisor.runners if runner.part.name == name)
        try:
            with urllib.request.urlopen(runner.part.ready_url, timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def turn(self, per_cent: float) -> None:
        """Turn the potentiometer."""
        (self.layout.devices / "pot" / "adc32").write_text(f"{int(65535 * per_cent / 100)}\n")

    def pins(self) -> dict[str, int]:
        """Return what the pins are, read off the device."""
        folder = self.layout.devices / "lights"
        return {"red": int((folder / "pin4").read_text()), "green": int((folder / "pin5").read_text())}

    def desired(self) -> dict[str, float | None]:
        """Return what the webhook says the pins should be; None for released."""
        password = self.layout.password("operator").read_text().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports.webhook}/pins")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"operator:{password}".encode()).decode())
        with urllib.request.urlopen(request, timeout=2) as answer:
            pins = json.load(answer)["pins"]
        return {pin["pin"]: pin["desired"]["value"] if pin["desired"] else None for pin in pins}

    def stored(self) -> collections.Counter[tuple[str, int]]:
        """Return how often each (boot, n) of the potentiometer is in the store."""
        return stored_samples(self.layout.store)


def stored_samples(path: Path) -> collections.Counter[tuple[str, int]]:
    """Return how often each (boot, n) is stored; the same sample at two times would count twice."""
    store = SqliteStore(path)
    try:
        return collections.Counter((boot, n) for _, boot, n, _ in store.identities(10**6))
    finally:
        store.close()


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    need("mosquitto", "apt-get install mosquitto")
    if find().name != "micropython":
        missing("MicroPython is not here: make micropython")
    layout = Layout(tmp_path / "data", tmp_path / "rules.yml")
    layout.rules.write_text(RULES)
    ports = Ports(*(free_port() for _ in range(5)))
    pot = layout.devices / "pot"
    with running_loop(layout, ports, sweep_s=6.0) as loop:
        trace_acknowledged(layout, loop)
        yield Chaos(layout, ports, loop, Acknowledged(pot / "acked"))


def trace_acknowledged(layout: Layout, loop: Loop) -> None:
    """Let the potentiometer publish ten times a second and write down what was acknowledged, from its next boot on."""
    path = layout.devices / "pot" / "device.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "interval_s": 0.1, "trace": "acked"}))
    runner = next(runner for runner in loop.supervisor.runners if runner.part.name == "device pot")
    assert runner.process is not None
    until(lambda: children(runner.process.pid), 5, "the device has power")
    os.kill(children(runner.process.pid)[0], signal.SIGKILL)


@pytest.mark.loop
@pytest.mark.long
@pytest.mark.timeout(180)
def test_random_kills_lose_no_acknowledged_reading_and_leave_every_pin_right(chaos: Chaos, capsys):
    """A minute of SIGKILLs to broker, listener, webhook, rules and devices."""
    seed = int(os.environ.get("PINLOOP_CHAOS_SEED", random.randrange(10**6)))
    dice = random.Random(seed)
    for name in ("listener", "rules", "webhook"):
        chaos.until(lambda name=name: chaos.ready(name), 20, f"{name} is ready")
    chaos.until(lambda: len(chaos.acknowledged.seen_at_s) > 10, 10, "acknowledged readings")

    # A minute in which something dies every one or two seconds.
    end_s = time.monotonic() + LENGTH_S
    while time.monotonic() < end_s:
        chaos.tend(dice.uniform(0.8, 2.0))
        victim = dice.choice(VICTIMS)
        if victim == "broker":
            # What a broker holds for a listener that is down dies with it: that is the documented limit of a broker
            # that saves every 10 s, and not what is tested here. So the listener is up for the window's length.
            chaos.until(lambda: chaos.ready("listener"), 20, "the listener is back")
            chaos.tend(LOSS_WINDOW_S + 0.2)
        chaos.kill(victim)

    # Afterwards the pins follow the readings again, both ways, within 10 s.
    chaos.turn(95)
    chaos.until(lambda: chaos.pins() == {"red": 1, "green": 0} and chaos.desired().get("red") == 1, 10 + 5, "red is on")
    chaos.turn(5)
    chaos.until(lambda: chaos.pins() == {"red": 0, "green": 0} and chaos.desired().get("red") is None, 10, "red is off")

    # Every acknowledged reading is stored once.
    acknowledged = dict(chaos.acknowledged.seen_at_s)
    chaos.until(lambda: max(acknowledged.values()) < time.monotonic() - 1, 5, "the last readings had their second")
    chaos.until(lambda: chaos.ready("listener"), 20, "the listener is ready")
    chaos.tend(1.0)
    stored = chaos.stored()
    broker_kills_s = [at_s for at_s, name in chaos.kills if name == "broker"]
    lost = [key for key in acknowledged if not stored[key]]
    excused = [key for key in lost if any(-0.2 < at_s - acknowledged[key] < LOSS_WINDOW_S for at_s in broker_kills_s)]
    twice = {key: count for key, count in stored.items() if count > 1}
    with capsys.disabled():
        kills = collections.Counter(name for _, name in chaos.kills)
        print(
            f"\nchaos: seed {seed}, {len(chaos.kills)} kills {dict(kills)}; {len(acknowledged)} acknowledged, "
            f"{len(stored)} stored, {len(lost)} lost in the second before a broker's kill, {len(twice)} twice"
        )
    assert not twice
    unexcused = sorted(acknowledged[key] for key in set(lost) - set(excused))
    assert unexcused == [], f"seed {seed}: acknowledged and lost at {unexcused}; kills {chaos.kills}"
    assert len(acknowledged) > 100
    assert kills["broker"] or LENGTH_S < 60


@pytest.mark.loop
def test_nothing_of_the_loop_is_left_after_its_end(tmp_path: Path):
    """Every process below this one that the loop started is gone, devices and broker too."""
    layout = Layout(tmp_path / "data", tmp_path / "rules.yml")
    layout.rules.write_text(RULES)
    before = set(descendants(os.getpid()))
    with running_loop(layout, Ports(*(free_port() for _ in range(5)))) as loop:
        until(lambda: len(set(descendants(os.getpid())) - before) >= 2 * 2 + 5, 10, "everything runs")
        started = set(descendants(os.getpid())) - before
        assert all(runner.alive for runner in loop.supervisor.runners)
    left = {pid for pid in started if Path(f"/proc/{pid}").exists()}
    assert left == set()
