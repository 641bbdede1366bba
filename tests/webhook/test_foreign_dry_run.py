"""A device of other firmware whose pin is in dry-run: switched off once, and then left to who else commands it."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Client
from tests.support.wait import until
from webhook.foreign.bridge import _SETTLE_S

KETTLE = "  kettle: {kind: tasmota, topic: kettle, pins: {power: }}\n"


def powers(sent: Any) -> list[bytes]:
    return [message.payload for message in sent]


def ended(webhook: Any) -> bool:
    """Tell whether the device has reported that what was sent to it is taken back."""
    log = webhook.call("GET", "/changes")[1]["changes"]
    return any(one["value"] is None and not one["dry_run"] and one["reported_at_s"] for one in log)


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False], ids=["all", "pin"])
def test_dry_run_is_switched_on_and_off_beside_a_device_of_other_firmware(
    make_webhook: Callable[..., Any], client: Client, tmp_path: Path, whole: bool
) -> None:
    """What was sent is taken back, once; what is rehearsed reaches nobody, after restarts either; then it counts."""
    routes, pins = tmp_path / "routes.yml", tmp_path / "pins.yml"
    routes.write_text(f"version: 1\ndevices:\n{KETTLE}")
    pins.write_text("version: 1\npins:\n  kettle/power:\n    dry_run: true\n")
    rehearsal: dict[str, object] = {"dry_run": "true"} if whole else {"pins_path": pins}
    client.publish("tele/kettle/LWT", "Online", retain=True)
    sent = client.collect("cmnd/kettle/POWER1")

    # Really on.
    webhook = make_webhook(routes_path=routes, reconcile_s=0.5).start()
    until(lambda: webhook.call("GET", "/pins/kettle/power")[0] == 200, 5, "the kettle is known")
    webhook.alert("cold", "kettle/power=1")
    sent.until(lambda message: message.payload == b"ON")
    client.publish("stat/kettle/RESULT", '{"POWER":"ON"}')
    until(lambda: webhook.pin("kettle", "power")["reported"]["value"] == 1, 5, "it is on")
    webhook.kill()

    # Dry-run: taken back once, although the alert still fires.
    sent.clear()
    webhook = make_webhook(routes_path=routes, reconcile_s=0.5, **rehearsal).start()
    sent.until(lambda message: message.payload == b"OFF")
    client.publish("stat/kettle/RESULT", '{"POWER":"OFF"}')
    until(lambda: ended(webhook), 5, "its end is in the log")
    webhook.alert("cold", "kettle/power=1", episode=1)
    assert webhook.pin("kettle", "power")["command"]["value"] == 1
    webhook.kill()

    # A minute later somebody else switches it on; the webhook starts anew and leaves it alone.
    with sqlite3.connect(webhook.database) as database:
        database.execute("UPDATE changes SET reported_s = reported_s - 60")
    client.publish("stat/kettle/RESULT", '{"POWER":"ON"}')
    sent.clear()
    webhook = make_webhook(routes_path=routes, reconcile_s=0.5, **rehearsal).start()
    client.publish("stat/kettle/RESULT", '{"POWER":"ON"}')
    began_s = time.monotonic()
    until(lambda: time.monotonic() - began_s > _SETTLE_S + 2, 10, "what was not asked for has ended by now")
    webhook.alert("cold", "kettle/power=1", "resolved", episode=1)
    webhook.alert("cold", "kettle/power=1", episode=2)
    assert powers(sent) == []
    webhook.kill()

    # No dry-run any more: what is claimed is commanded.
    webhook = make_webhook(routes_path=routes, reconcile_s=0.5).start()
    sent.until(lambda message: message.payload == b"ON")
    webhook.alert("cold", "kettle/power=1", "resolved", episode=2)
    sent.until(lambda message: message.payload == b"OFF")
