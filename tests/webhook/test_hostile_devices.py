"""What a device says of itself, however odd, is its own trouble: other pins follow, every question is answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.limits import MAX_INTEGER
from contract.presence import PIN_NUMBERS
from tests.webhook.world import World, simulated
from webhook.facts import Facts

ODD = ("odd", "relay")
GOOD = ("good", "relay")


class Scene:
    """A world with a good device in it, and one of which the test says every word."""

    def __init__(self, world: World) -> None:
        world.start()
        self.world = world
        assert world.webhook is not None
        self.webhook = world.webhook
        self._episode = 0
        world.advance(3)

    def says(self, topic: str, payload: bytes | object, device: str = "odd") -> None:
        """Let a device publish."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        message: Any = SimpleNamespace(topic=f"pinloop/{device}/{topic}", payload=data, retain=False)
        self.webhook.observed.message(message)

    def alert(self, status: str = "firing", reason: str = "") -> dict[str, Any]:
        """Post an alert of each device, in one body; return the answer."""
        self._episode += status == "firing"
        alerts = [
            {
                "status": status,
                "labels": {"alertname": device, "actuate": f"{device}/relay=1"},
                "annotations": {"grafana_state_reason": reason},
                "startsAt": f"2026-11-21T03:{self._episode // 60:02}:{self._episode % 60:02}Z",
                "fingerprint": device,
            }
            for device in ("odd", "good")
        ]
        return self.webhook.alerts.receive(json.dumps({"version": "1", "alerts": alerts}).encode())

    def asked(self) -> str:
        """Ask everything that there is to be asked of the pins; return it as JSON."""
        one = self.webhook
        facts = Facts(one.database, one.claims, one.commands, one.observed, 30, one.claims._holds)
        now_s = self.world.clock.time()
        return json.dumps([facts.pins(now_s), facts.why(ODD, now_s), facts.why(GOOD, now_s)], allow_nan=False)

    def good_follows(self) -> None:
        """The good device goes on, off by an end, and off by an end that nobody saw; all is answered meanwhile."""
        for end, reason in (("resolved", ""), ("resolved", "MissingSeries")):
            assert {one["outcome"] for one in self.alert()["results"]} == {"claimed"}
            self.world.advance(2)
            self.asked()
            assert self.world.level[GOOD] == 1
            self.alert(end, reason)
            self.world.advance(8)
            self.asked()
            assert self.world.level[GOOD] == 0
        self.alert()
        self.world.advance(200, 5)  # nobody says it again
        self.asked()
        assert self.world.level[GOOD] == 0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Make scenes one after the other, each on a database of its own."""
    with simulated() as clock:
        opened: list[World] = []

        def make() -> Scene:
            while opened:
                opened.pop().kill()
            clock.reset()
            folder: Path = tmp_path_factory.mktemp("scene")
            pins: dict[str, dict[str, dict[str, Any]]] = {"good": {"relay": {}}}
            world = World(clock, folder, pins, {}, lambda: None, lambda *_: None, lambda: None)
            opened.append(world)
            return Scene(world)

        yield make
        while opened:
            opened.pop().kill()


def test_a_report_of_the_last_seq_there_is_does_not_make_a_pin_deaf(scenes: Any) -> None:
    """The next one would be beyond what a device reads: it could never be told to go off."""
    scene = scenes()
    scene.alert()
    scene.world.advance(2)
    scene.says("pin/relay/state", {"v": 1, "seq": MAX_INTEGER, "why": "command"}, device="good")
    scene.world.advance(2)
    scene.good_follows()


def test_a_device_that_invents_pins_fills_no_database(scenes: Any) -> None:
    """Each that is reported to follow a command would be released, which is stored; so many are, and no more."""
    scene = scenes()
    scene.says("status", b"online")
    for number in range(400):
        scene.says(f"pin/p{number}/state", {"v": 1, "seq": 1, "why": "command"})
    scene.world.advance(60)
    for number in range(256):
        scene.says(f"pin/p{number}/state", b"")
        scene.says(f"pin/q{number}/state", {"v": 1, "seq": 1, "why": "command"})
    scene.world.advance(60)
    assert {pin for device, pin in scene.webhook.commands.all() if device == "odd"} == {f"p{n}" for n in range(256)}
    scene.good_follows()


HUGE = [1e300, -1e300, -float(MAX_INTEGER), 5e-324, 2**53 - 1]


@pytest.mark.parametrize("number", HUGE, ids=str)
@pytest.mark.parametrize("limit", PIN_NUMBERS)
def test_no_number_that_a_device_declares_disturbs_another(scenes: Any, limit: str, number: float) -> None:
    """One that no database and no calendar holds, too."""
    scene = scenes()
    scene.says("info", {"pins": {"relay": {limit: number}}})
    scene.good_follows()


NUMBERS: st.SearchStrategy[Any] = (
    st.sampled_from([*HUGE, True, None, "1", [], {}]) | st.integers(-(2**70), 2**70) | st.floats()
)
PINS = st.dictionaries(st.sampled_from([*PIN_NUMBERS, "hold", "active_low", "x"]), NUMBERS, max_size=4)
WORDS = st.one_of(
    st.tuples(st.just("info"), st.fixed_dictionaries({"pins": st.just({}) | PINS.map(lambda one: {"relay": one})})),
    st.tuples(st.just("info"), NUMBERS),
    st.tuples(st.just("status"), st.sampled_from([b"online", b"offline", b"sleeping", b"", b"\xff", b"on"])),
    st.tuples(
        st.just("pin/relay/state"),
        st.fixed_dictionaries({"v": NUMBERS}, optional={"seq": NUMBERS, "why": st.sampled_from(
            ["command", "released", "expired", "link-lost", "boot", "guard", "local", "", None]
        )}),
    ),
    st.tuples(st.just("pin/relay/set"), st.fixed_dictionaries({"v": NUMBERS}, optional={"seq": NUMBERS})),
    st.tuples(st.sampled_from(["info", "status", "pin/relay/state", "pin/relay/set"]), st.binary(max_size=40)),
)  # fmt: skip


@given(words=st.lists(WORDS, min_size=1, max_size=6))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_words_of_a_device_disturb_another(scenes: Any, words: list[tuple[str, Any]]) -> None:
    """Any numbers, shapes and bytes on its own topics, with time passing in between."""
    scene = scenes()
    for topic, payload in words:
        scene.says(topic, payload)
        scene.world.advance(1)
    scene.good_follows()
