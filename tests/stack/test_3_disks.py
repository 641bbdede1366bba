"""A full disk stops what needs it, loses nothing, and is over as soon as there is room again."""

import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stack.checks import EXPECTED, recovery, until_pins
from tests.stack.compose import Stack
from tests.stack.load import Load, Wishes
from tests.stack.table import FaultTable
from tests.support.wait import until


@contextmanager
def full(stack: Stack, disk: str) -> Iterator[None]:
    """No byte is free on a service's disk for the length of a `with` block."""
    stack.execute("disks", "sh", "-c", f"cat /dev/zero >/disks/{disk}/filling 2>/dev/null || true")
    try:
        yield
    finally:
        stack.execute("disks", "rm", f"/disks/{disk}/filling")


def claim_refused(stack: Stack) -> bool:
    """Tell whether the webhook answers 503 to a person's wish."""
    operator = ("operator", stack.secret("operator_password"))
    try:
        stack.http("WEBHOOK_PORT", "/pins/lights/red", user=operator, body={"value": 1, "for": "1m"}, method="PUT")
    except urllib.error.HTTPError as error:
        return error.code == 503
    return False


def test_a_full_disk_of_the_webhook_delays_a_pin_and_no_more(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """Nothing is claimed that is not committed: 503; the alert is posted again, and with room the pin follows."""
    wishes.green(0)
    wishes.red(0)
    until_pins(stack, wishes.wanted)
    with full(stack, "webhook"):
        assert claim_refused(stack)
        wishes.green(1)
        time.sleep(2)
        assert stack.pins() == {"red": 0, "green": 0}
        assert claim_refused(stack)

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    table.add(
        "webhook", "its disk full; an alert fires meanwhile", f"503, nothing switched; then {EXPECTED}", str(seen)
    )


def test_a_full_disk_of_the_listener_costs_no_reading(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """A reading that the store refuses for good has no place to go: it is held, with all after it, till there is."""
    write = "/api/v2/write?org=pinloop&bucket=pinloop&precision=ns"
    token = stack.secret("store_write_token")
    stack.http("INFLUXDB_PORT", write, body=b'readings,device=odd odd="text"', token=token)
    letters = "/disks/listener/dead-letter.jsonl"
    with full(stack, "listener"):
        load.publish("odd", 1.5)
        until(lambda: not stack.ready("listener", 8082), 10, "the listener says that it is stuck", every_s=0.1)
        assert "odd" not in stack.execute("disks", "sh", "-c", f"cat {letters} 2>/dev/null || true")

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    until(lambda: "odd" in stack.execute("disks", "cat", letters), 5, "the dead letter")
    assert stack.ready("listener", 8082)
    expected = f"not ready while it lasts; then the reading is in the dead-letter file, and {EXPECTED}"
    table.add("listener", "its disk full; the store refuses a reading for good", expected, str(seen))
