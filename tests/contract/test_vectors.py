"""The golden messages, on both interpreters."""

import subprocess
import sys

import pytest

from contract import check
from firmware.sim.engine import EngineError, find
from tests.support.processes import ROOT
from tests.support.requirements import missing

_VECTORS = [(name, vector) for name in check.SETS for vector in check.load(name)]


@pytest.mark.parametrize(("name", "vector"), _VECTORS, ids=[f"{name}: {vector['name']}" for name, vector in _VECTORS])
def test_the_contract_answers_as_the_vector_says(name: str, vector: dict[str, object]) -> None:
    """Each golden message gives its expected value or is refused for its reason."""
    assert check.judge(name, vector) == ""


def test_a_vector_that_does_not_hold_is_told() -> None:
    """The judge is no yes-man: a wrong value, a wrong reason and a missing refusal are named."""
    assert check.judge("states", {"payload": '{"v":1}', "expect": {"v": 0}})
    assert check.judge("states", {"payload": "{", "reason": "shape"})
    assert check.judge("states", {"payload": '{"v":1}', "reason": "json"})


@pytest.mark.parametrize("words", [["-m", "contract.check"], ["contract/check.py"]], ids=["as a module", "by path"])
@pytest.mark.parametrize("engine", ["cpython", "micropython"])
def test_the_runner_passes_on(engine: str, words: list[str]) -> None:
    """`contract.check` runs on CPython and on MicroPython and agrees with every vector."""
    try:
        program = [sys.executable] if engine == "cpython" else find("micropython").argv
    except EngineError as error:
        missing(str(error))
    done = subprocess.run([*program, *words], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{len(_VECTORS)} passed, 0 failed"
