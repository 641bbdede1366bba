"""`pinloop demo`: the turn is seen from outside, in order, and its failure is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pinloop.turn import STEPS
from tests.support.processes import Child, descendants
from tests.support.requirements import need
from tests.support.wait import until

NAMES = [name for name, _ in STEPS]


@pytest.fixture(autouse=True)
def _mosquitto() -> None:
    need("mosquitto", "apt-get install mosquitto")


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
def test_one_turn_of_the_loop_is_seen_in_its_order(spawn: Callable[..., Child], tmp_path: Path, broker: str):
    """--json prints one object; every step came, causes before effects."""
    words = ["python", "-m", "pinloop", "demo", "--json", "--broker", broker]
    child = spawn(words, env={"TMPDIR": str(tmp_path)})
    assert child.wait(40) == 0, child.text()
    turn = json.loads(child.text())
    assert turn["ok"] is True
    at_ms = {step["name"]: step["at_ms"] for step in turn["steps"]}
    assert list(at_ms) == NAMES
    assert at_ms["reading published"] == 0
    assert at_ms["reading stored"] > 0
    order = [name for name in NAMES if name not in ("reading stored", "reading published")]
    times = [at_ms[name] for name in order]
    assert times == sorted(times)
    assert not list(tmp_path.glob("pinloop-demo-*"))


def test_a_step_that_does_not_come_is_named_with_exit_1(spawn: Callable[..., Child]):
    """A deadline shorter than the potentiometer's way up: the first step is missing."""
    child = spawn(["python", "-m", "pinloop", "demo", "--deadline", "1"])
    assert child.wait(40) == 1
    assert "'reading published' did not come within 1 s" in child.text()
    assert "Traceback" not in child.text()


def test_an_interrupted_demo_leaves_nothing_behind(spawn: Callable[..., Child], tmp_path: Path):
    """Neither processes nor its folder."""
    child = spawn(["python", "-m", "pinloop", "demo"], env={"TMPDIR": str(tmp_path)})
    until(lambda: "Waiting for" in child.text(), 20, "the demo runs")
    started = descendants(child.pid)
    child.terminate()
    assert child.wait(15) == 1
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert not list(tmp_path.glob("pinloop-demo-*"))
