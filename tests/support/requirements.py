"""Tools that a test needs: found, or the test is skipped with a reason that cannot be overlooked.

`PINLOOP_REQUIRE=1` (set by .ci/run) turns the skip into a failure.
"""

import os
import shutil

import pytest


def need(program: str, hint: str) -> str:
    """Return the path of `program`, or skip (fail under PINLOOP_REQUIRE=1) saying how to get it."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if found:
        return found
    missing(f"{program} is not installed: {hint}")
    raise AssertionError


def missing(reason: str) -> None:
    """Skip the test with `reason`; under PINLOOP_REQUIRE=1 fail it."""
    if os.environ.get("PINLOOP_REQUIRE") == "1":
        pytest.fail(reason + " (PINLOOP_REQUIRE=1 forbids skipping)")
    pytest.skip(reason)
