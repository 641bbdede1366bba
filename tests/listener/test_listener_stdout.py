"""The listener as a process that also says every point on standard output, for another program."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.readings import encode_reading
from tests.support.broker import Broker, Client
from tests.support.processes import Child
from tests.support.wait import until


@pytest.mark.long
def test_standard_output_holds_points_and_nothing_else(
    spawn: Callable[..., Child], broker: Broker, client: Client, tmp_path: Path
) -> None:
    """From the first byte to the last one, also while a message is refused and a store that is dead is told of."""
    said = tmp_path / "said"
    listener = spawn(
        ["bash", "-c", f"exec {sys.executable} -m listener > {said}"],
        env={
            **broker.environment(),
            "PINLOOP_LISTENER_HTTP_PORT": "0",
            "PINLOOP_STORE_URL": f"sqlite:{tmp_path / 'store.db'}",
            "PINLOOP_LISTENER_SPOOL_PATH": str(tmp_path / "spool"),
            "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
            "PINLOOP_LISTENER_SECOND_STORES": "out=stdout:,dead=http://127.0.0.1:1/?bucket=b",
        },
    )
    until(lambda: "broker connected" in listener.text(), 10, "the listener connects, and says so elsewhere")
    client.publish("pinloop/pot/reading/pot", "nonsense")
    for n in range(20):
        client.publish("pinloop/pot/reading/pot", encode_reading(n, n, "k3f9"))

    def numbers() -> list[float]:
        points = [json.loads(line) for line in said.read_text().splitlines()]
        return [one["fields"]["n"] for one in points if one["measurement"] == "readings"]

    until(lambda: len(numbers()) >= 20, 10, "every reading is said")
    assert listener.end(15) == 0
    assert numbers() == list(range(20))
    assert "store fails" in listener.text()
