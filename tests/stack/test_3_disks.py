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
    """No byte is free on a service's disk for the length of a `with` block, also when it gives some back."""
    filling = f"/disks/{disk}/filling"
    fill = "cat /dev/zero >&3 2>/dev/null"
    again = f"(while [ -e {filling} ]; do {fill}; sleep 0.05; done) </dev/null >/dev/null 2>&1 &"
    stack.execute("disks", "sh", "-c", f"exec 3>>{filling}; {fill}; {again}")
    try:
        yield
    finally:
        stack.execute("disks", "rm", filling)


def claim(stack: Stack, method: str = "PUT") -> int:
    """Claim that lights/red is on, or take that back (DELETE), as a person; return the status of the answer."""
    operator = ("operator", stack.secret("operator_password"))
    body = {"value": 1, "for": "10m"} if method == "PUT" else None
    try:
        stack.http("WEBHOOK_PORT", "/pins/lights/red", user=operator, body=body, method=method)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_a_full_disk_of_the_webhook_delays_a_pin_and_no_more(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """Nothing is claimed that is not committed; the alert is posted again, and with room the pin follows.

    How much the journal takes before the disk is asked for more depends on what it held before.
    """
    wishes.green(0)
    wishes.red(0)
    until_pins(stack, wishes.wanted)
    with full(stack, "webhook"):
        status = claim(stack)
        assert status in (200, 503)
        wishes.green(1)
        time.sleep(2)
        assert stack.pins()["red"] == (1 if status == 200 else 0)

    began_s = time.monotonic()
    assert claim(stack, "DELETE") == 200
    seen = recovery(stack, load, began_s, wishes.wanted)

    promise = f"on after 200, never after 503; then {EXPECTED}"
    table.add("webhook", "its disk full; a person switches, an alert fires meanwhile", promise, f"{status}; {seen}")


def test_a_full_disk_of_the_listener_costs_no_reading(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """A reading that the store refuses for good has no place to go: it is held, with all after it, till there is."""
    write = "/api/v2/write?org=pinloop&bucket=pinloop&precision=ns"
    token = stack.secret("store_write_token")
    stack.http("INFLUXDB_PORT", write, body=b'readings,device=odd odd="text"', token=token)
    letters = "/disks/listener/dead-letter.jsonl"
    with full(stack, "listener"):
        # A letter of more than a page: a shorter one may fit behind an earlier one, where the disk has room still.
        load.publish_samples("odd", 1.5, 200)
        until(lambda: not stack.ready("listener", 8082), 10, "the listener says that it is stuck", every_s=0.1)
        assert "odd" not in stack.execute("disks", "sh", "-c", f"cat {letters} 2>/dev/null || true")

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    until(lambda: "odd" in stack.execute("disks", "cat", letters), 5, "the dead letter")
    assert stack.ready("listener", 8082)
    expected = f"not ready while it lasts; then the reading is in the dead-letter file, and {EXPECTED}"
    table.add("listener", "its disk full; the store refuses a reading for good", expected, str(seen))
