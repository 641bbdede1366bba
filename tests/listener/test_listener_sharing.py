"""Listeners that share the readings of one prefix: who subscribes to what, and what a killed one leaves."""

import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.readings import encode_reading
from listener.sharing import Share, SharingSettings, share
from service.errors import SettingsError
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client
from tests.support.processes import Child
from tests.support.wait import until

READINGS, OTHERS = ["p/+/readings"], ["p/+/info"]


@pytest.mark.parametrize(
    ("settings", "filters"),
    [
        (SharingSettings(), READINGS + OTHERS),
        (SharingSettings(shared=True, instance="a"), ["$share/listener/p/+/readings"]),
        (SharingSettings(takes_readings=False), OTHERS),
    ],
)
def test_readings_are_shared_and_states_are_one_listeners(settings: SharingSettings, filters: list[str]) -> None:
    """What changed can only be told by who sees every message."""
    assert share(settings).filters(READINGS, OTHERS) == filters


def test_each_listener_has_a_client_id_and_a_slot_of_its_own() -> None:
    """The name's number is the slot; a listener alone keeps the name that its session has."""
    assert share(SharingSettings()) == Share("listener", "", True, True, 0)
    names = {share(SharingSettings(shared=True, instance=f"listener-{n}")) for n in range(3)}
    assert {(one.name, one.slot) for one in names} == {(f"listener-listener-{n}", n) for n in range(3)}
    assert share(SharingSettings(shared=True)).name.startswith("listener-")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (SharingSettings(shared=True, takes_readings=False), "takes_readings"),
        (SharingSettings(shared=True, instance="a/b"), "instance"),
    ],
)
def test_settings_that_contradict_are_refused_by_name(settings: SharingSettings, key: str) -> None:
    """A listener that takes nothing would look healthy."""
    with pytest.raises(SettingsError, match=key):
        share(settings)


def rows(path: Path) -> int:
    """Return how many values of `pot` the file holds."""
    with sqlite3.connect(path) as connection:
        sql = "SELECT count(*) FROM samples JOIN series ON id = series WHERE field = 'pot'"
        return int(connection.execute(sql).fetchone()[0])


@pytest.mark.long
def test_of_two_listeners_one_is_killed_and_nothing_is_lost_or_twice(
    spawn: Callable[..., Child], broker: Broker, client: Client, tmp_path: Path
) -> None:
    """Under load, three times; the broker keeps its share until it is back under its name."""
    path = tmp_path / "store.db"
    started = 0

    def start(instance: str) -> Child:
        nonlocal started
        started += 1
        child = spawn(
            ["python", "-m", "listener"],
            env={
                **broker.environment(),
                "PINLOOP_LISTENER_HTTP_PORT": "0",
                "PINLOOP_STORE_URL": f"sqlite:{path}",
                "PINLOOP_LISTENER_SHARED": "true",
                "PINLOOP_LISTENER_INSTANCE": instance,
                "PINLOOP_LISTENER_SPOOL_PATH": str(tmp_path / instance / "spool"),
                "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(tmp_path / instance / "dead.jsonl"),
            },
            name=f"{instance}-{started}",
        )
        until(lambda: "broker connected" in child.text(), 10, "the listener connects")
        return child

    killed, kept = start("one"), start("two")
    store = SqliteStore(path)
    total = 6000

    def publish() -> None:
        for n in range(total):
            # Of several devices: of each the store is asked for the newest samples only.
            client.publish(f"pinloop/pot{n % 10}/reading/pot", encode_reading(n, n // 10, "k3f9"))

    publishing = threading.Thread(target=publish)
    publishing.start()
    moments = random.Random(5)
    for _ in range(3):
        before = rows(path) if path.exists() else 0
        step = moments.randrange(100, 600)
        until(lambda before=before, step=step: rows(path) > before + step or not publishing.is_alive(), 30)
        killed.kill()
        killed.wait(5)
        killed = start("one")
    publishing.join(60)
    until(lambda: rows(path) >= total, 20, f"all {total} values; {rows(path)}")
    numbered = sorted((n, device) for device, _, n, _ in store.identities(10**6))
    store.close()
    assert numbered == [(n // 10, f"pot{n % 10}") for n in range(total)]
    assert rows(path) == total
    assert kept.poll() is None
