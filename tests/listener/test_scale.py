"""deploy/scale: several listeners before one store, as the README says."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from contract.readings import encode_reading
from listener.settings import Settings
from service.settings import declared
from tests.support.broker import Client
from tests.support.ports import free_port
from tests.support.processes import ROOT, Child
from tests.support.requirements import need
from tests.support.wait import until


def test_the_compose_file_sets_what_there_is_and_gives_each_reader_its_own() -> None:
    """Two readers with one name would share a session, with one folder a spool."""
    services = yaml.safe_load((ROOT / "deploy/scale/compose.yml").read_text())["services"]
    known = {f"PINLOOP_{one.name.upper()}" for one in declared(Settings)}
    ours = {name: one["environment"] for name, one in services.items() if "environment" in one}
    assert len(ours) == 3
    for name, environment in ours.items():
        assert {key.removesuffix("_FILE") for key in environment} <= known, name
    readers = [one for one in ours.values() if one.get("PINLOOP_SHARED") == "true"]
    for key in ("PINLOOP_INSTANCE", "PINLOOP_SPOOL_PATH", "PINLOOP_DEAD_LETTER_PATH"):
        assert len({one[key] for one in readers}) == len(readers) == 2


@pytest.mark.long
def test_two_listeners_bring_every_reading_into_the_store_once(spawn: Callable[..., Child], tmp_path: Path) -> None:
    """Both take part, and the read side of the README answers."""
    need("victoria-metrics", "apt-get install victoria-metrics")
    mqtt, store = free_port(), free_port()
    http = next(port for port in iter(free_port, 0) if port < 65000)
    words = ["python", "-m", "deploy.scale.run", "--folder", tmp_path / "scale", "--mqtt-port", mqtt]
    child = spawn([*map(str, words), "--store-port", str(store), "--http-port", str(http)])
    until(lambda: "ready:" in child.text(), 20, f"everything runs: {child.text()}")
    total, start_s = 2000, time.time() - 100
    here: Any = SimpleNamespace(host="127.0.0.1", port=mqtt)
    with Client(here) as client:
        for n in range(total):
            client.client.publish("pinloop/pot/reading/pot", encode_reading(n, n, "k3f9", start_s + n / 100), 1)
        client.publish("pinloop/pot/status", "online")

    def asked(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{store}{path}", timeout=5) as answer:
            return bytes(answer.read())

    def values() -> list[float]:
        urllib.request.urlopen(f"http://127.0.0.1:{store}/internal/force_flush").close()
        lines = asked("/api/v1/export?match[]=readings_pot").splitlines()
        return sorted(value for line in lines for value in json.loads(line)["values"])

    until(lambda: values() == list(range(total)), 20, "all readings, once", every_s=0.2)
    for offset in (1, 2):  # the readers; the first listener takes states
        with urllib.request.urlopen(f"http://127.0.0.1:{http + offset}/metrics") as answer:
            taken = next(
                line for line in answer.read().decode().splitlines() if line.startswith("listener_messages_total")
            )
            assert 0 < float(taken.split()[1]) < total

    def online() -> list[tuple[str, str]]:
        answer = json.loads(asked("/api/v1/query?query=devices_online&latency_offset=0s&nocache=1"))
        return [(one["metric"]["device"], one["value"][1]) for one in answer["data"]["result"]]

    until(lambda: online() == [("pot", "1")], 10, "the state's listener has stored it")
    assert child.end(30) == 0
