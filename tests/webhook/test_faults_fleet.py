"""Many boards and one webhook when broker or webhook die: every pin is right again, and nobody storms."""

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.boards import Board, boards
from tests.support.broker import Broker
from tests.support.nursery import nursery
from tests.support.ports import free_port
from tests.support.wait import until
from tests.webhook.conftest import PASSWORDS

FLEET = 250
PINS = ("red", "green")
POINTS = ("claims.decided", "claims.committed", "command.sent", "command.acknowledged", "reports.recorded")
ROUNDS = 30
LONGEST_LIFE_S = 1.0


def alert(actuate: str, firing: bool, began_s: float) -> dict[str, Any]:
    """Return an alert as Alertmanager posts it; it is named by its target."""
    return {
        "status": "firing" if firing else "resolved",
        "labels": {"alertname": actuate, "actuate": actuate},
        "annotations": {},
        "startsAt": datetime.fromtimestamp(began_s, UTC).isoformat(),
        "fingerprint": actuate,
    }


def differing(fleet: Sequence[Board], truth: dict[tuple[str, str], int]) -> list[str]:
    """Return the pins that are not what they should be."""
    return [
        f"{board.name}/{pin} is {value}"
        for board in fleet
        for pin, value in board.pins.items()
        if value != truth.get((board.name, pin), 0)
    ]


@pytest.mark.long
@pytest.mark.parametrize("end", ["sigterm", "sigkill"])
def test_a_fleet_comes_back_after_the_broker_with_every_pin_right(
    make_webhook: Callable[..., Any], broker: Broker, record_property: Callable[[str, object], None], end: str
) -> None:
    """What changed while the broker was away holds; after the SIGKILL it has forgotten everything, too."""
    names = [f"b{number}" for number in range(FLEET)]
    webhook = make_webhook().start()

    def post(pin: str, of: Sequence[str], firing: bool) -> None:
        alerts = [alert(f"{name}/{pin}=1", firing, 1_767_225_600) for name in of]
        status, answer = webhook.call("POST", "/alert", {"version": "4", "alerts": alerts}, "alerts")
        assert status == 200, answer

    with boards(broker, names, PINS, link_lost_s=60) as fleet:
        until(lambda: webhook.metric("webhook_drift_pins") == 0 and all(b.connects for b in fleet), 20, "the fleet")
        post("red", names, firing=True)
        until(lambda: not differing(fleet, {(name, "red"): 1 for name in names}), 20, "every red pin is on")

        # Half of the red pins go and every green one comes while the broker is away.
        if end == "sigterm":
            broker.stop()
        else:
            broker.kill()
            broker.forget()
        before = {board.name: len(board.live["red"]) + len(board.live["green"]) for board in fleet}
        post("red", names[: FLEET // 2], firing=False)
        post("green", names, firing=True)
        broker.start()

        began_s = time.monotonic()
        truth = {(name, "red"): 1 for name in names[FLEET // 2 :]} | {(name, "green"): 1 for name in names}
        until(lambda: not differing(fleet, truth), 30, "every pin is right")
        took_s = time.monotonic() - began_s
        until(lambda: webhook.call("GET", "/readyz")[0] == 200, 5, "the webhook is ready")
        sent = [len(board.live["red"]) + len(board.live["green"]) - before[board.name] for board in fleet]
    record_property(
        "seen", f"{2 * FLEET} pins right {took_s:.1f} s after the start; {max(sent)} commands a board at most"
    )
    assert took_s < 20  # a board waits for 5 s at most until it tries again
    assert max(sent) <= 3 * len(PINS)
    assert max(board.connects for board in fleet) == 2


class Sender:
    """Posts like Alertmanager: each alert's newest word, again until it is answered 200.

    Attributes:
        truth: (device, pin) -> what it should be, from the alerts that fire.
    """

    def __init__(self, port: int, targets: Sequence[tuple[str, str]], dice: random.Random) -> None:
        self.truth = dict.fromkeys(targets, 0)
        self.delivered = threading.Event()
        self.calm = threading.Event()
        self.posts = 0
        self._began_s = dict.fromkeys(targets, 0.0)
        self._port = port
        self._dice = dice
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def settle(self) -> None:
        """Change nothing more, and return when the last words were taken in."""
        self.calm.set()
        self.delivered.clear()
        assert self.delivered.wait(20), "the webhook takes the last words"

    def _run(self) -> None:
        pending: dict[tuple[str, str], dict[str, Any]] = {}
        while not self._ending.wait(0.02):
            if not self.calm.is_set():
                target = self._dice.choice(list(self.truth))
                self.truth[target] = 1 - self.truth[target]
                if self.truth[target]:
                    self._began_s[target] = time.time()
                pending[target] = alert(f"{'/'.join(target)}=1", bool(self.truth[target]), self._began_s[target])
            calm = self.calm.is_set()
            if pending and self._post(list(pending.values())):
                pending.clear()
            if calm and not pending:
                self.delivered.set()

    def _post(self, alerts: list[dict[str, Any]]) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        word = base64.b64encode(f"alerts:{PASSWORDS['alerts']}".encode()).decode()
        try:
            body = json.dumps({"version": "4", "alerts": alerts})
            connection.request("POST", "/alert", body, {"Authorization": f"Basic {word}"})
            self.posts += 1
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):  # it is dead
            return False
        finally:
            connection.close()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_pins_are_right_after_the_webhook_was_killed_at_every_commit_boundary(
    broker: Broker, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """At each failpoint and at random milliseconds, under alerts; no seq is ever given twice."""
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    names, port = [f"b{number}" for number in range(4)], free_port()
    environment = {
        **broker.environment(),
        "PINLOOP_ALERT_PASSWORD": PASSWORDS["alerts"],
        "PINLOOP_OPERATOR_PASSWORD": PASSWORDS["operator"],
        "PINLOOP_HTTP_PORT": str(port),
        "PINLOOP_CLAIMS_PATH": str(tmp_path / "claims.db"),
        "PINLOOP_RECONCILE_S": "1",
    }
    died_at = dict.fromkeys(POINTS, 0)
    slowest_s = 0.0
    with (
        boards(broker, names, PINS, link_lost_s=60) as fleet,
        nursery("webhook", tmp_path / "webhook.out", environment) as lives,
        Sender(port, [(name, pin) for name in names for pin in PINS], dice) as sender,
    ):
        for number in range(ROUNDS):
            # A life that ends early, while alerts come and go.
            failpoint = POINTS[number // 2 % len(POINTS)] if number % 2 else "-"
            pid = lives.life(failpoint)
            life_s = 10 if failpoint != "-" else dice.uniform(0.1, LONGEST_LIFE_S)
            with contextlib.suppress(AssertionError):  # its time is over
                until(lambda pid=pid: not _alive(pid), life_s)
                died_at[failpoint] += 1  # by itself, so at its failpoint
            _kill(pid)
            lives.dead()

            # One that lives: the sender says its last words, and the pins follow.
            pid = lives.life()
            began_s = time.monotonic()
            sender.settle()
            until(lambda: not differing(fleet, sender.truth), 10, f"the pins are right (seed {seed}, {failpoint})")
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            sender.calm.clear()
            _kill(pid)
            lives.dead()
    for board in fleet:
        for pin, seqs in board.live.items():
            assert seqs == sorted(set(seqs)), f"seed {seed}: {board.name}/{pin}"
    assert all(died_at.values()), f"a failpoint that was never reached: {died_at}"
    record_property(
        "seen", f"{2 * ROUNDS} kills, {sender.posts} posts; pins right {slowest_s:.1f} s after the slowest start"
    )


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
