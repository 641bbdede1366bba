"""`make backup STACK=1` under load, every volume deleted, `make restore STACK=1`: pins right, readings there."""

import time
from pathlib import Path

import pytest

from tests.stack.checks import EXPECTED, RIGHT_WITHIN_S, recovery, stored, until_pins
from tests.stack.compose import Stack
from tests.stack.load import Load, Wishes
from tests.stack.table import FaultTable
from tests.support.wait import until

# The tests' two small disks are gone with their last user: somebody has to hold them while the stack is down.
DISKS = ("listener-data", "webhook-data")
VOLUMES = ("secrets", "mosquitto-data", "influxdb-data", "rules-data", "devices-data", *DISKS)


def test_a_backup_is_made_and_restored(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable, tmp_path: Path
) -> None:
    """Made while all of it runs; afterwards a restored claim whose alert has ended is let go, and a new one is made."""
    wishes.red(1)
    wishes.green(0)
    until_pins(stack, wishes.wanted)
    kept, secret = tmp_path / "kept.tar.gz", stack.secret("console_password")
    own = tmp_path / "pins.yml"  # of the owner, outside of the checkout
    own.write_text("version: 1\npins: {}\n# mine\n")
    numbers = load.until(time.monotonic())
    began_s = time.monotonic()
    said = stack.make("backup", "STACK=1", f"FILE={kept}", PINS_FILE=str(own))
    took_s = time.monotonic() - began_s
    assert str(kept) in said
    assert "tests/stack/rules.yml" in said  # where RULES_FILE points; samples that nobody changed are not kept
    assert "webhook/routes.yml" not in said
    seen = recovery(stack, load, time.monotonic(), wishes.wanted)
    table.add("all of them", "`make backup STACK=1`", EXPECTED, f"took {took_s:.1f} s; {seen}")

    with pytest.raises(AssertionError, match="The stack runs: stop it first"):
        stack.make("restore", "STACK=1", f"FILE={kept}")

    # Another life, in which the rule's alert has ended; then nothing at all.
    wishes.red(0)
    until_pins(stack, wishes.wanted)
    mounts = [word for name in DISKS for word in ("--volume", f"{stack.project}_{name}:/{name}")]
    held = stack.docker("run", "--detach", "--init", *mounts, stack.inspect("disks")["Image"], "sleep", "600").strip()
    try:
        stack.compose("stop", "--timeout", "10")
        for volume in VOLUMES:
            stack.wipe(volume)
        said = stack.make("restore", "STACK=1", f"FILE={kept}")
        assert "are back" in said
        assert f"the backup's is {kept}.pins.yml" in said
        assert "rules.yml" not in said  # it is as it was
        assert Path(f"{kept}.pins.yml").read_text() == own.read_text()
        stack.compose("up", "--detach", "--wait", "--wait-timeout", "90")
    finally:
        stack.docker("rm", "--force", held)
    up_s = time.monotonic()
    wishes.green(1)
    until_pins(stack, wishes.wanted)
    pins_s = time.monotonic() - up_s

    assert stack.inspect("setup")["State"]["ExitCode"] == 0
    stack.forget()
    assert stack.secret("console_password") == secret
    wanted = numbers - load.forgiven
    until(lambda: wanted <= set(stored(stack, load)), RIGHT_WITHIN_S, "every reading of before the backup", every_s=0.2)
    load.forgiven |= load.until(up_s) - set(stored(stack, load))
    expected = "both pins right within 10 s of `up`; each reading of before the backup there, and the secrets"
    table.add("all of them", "every volume deleted; `make restore STACK=1`", expected, f"pins {pins_s:.1f} s")
