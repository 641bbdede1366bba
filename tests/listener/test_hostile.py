"""Strangers' messages by the hundred thousand: nothing escapes, every one is accounted for, the memory stays flat."""

import json
import random
import subprocess
import sys

import pytest

from tests.listener.hostile import ATTACKS
from tests.support.processes import ROOT

MESSAGES = 240_000
MOST_GROWTH_MB = 8.0  # caches' last places; 50 bytes kept of each message would be 9 MB more
MOST_MB = 100.0


def output(*words: str) -> list[str]:
    """Run a module of the tests to its end, and return its lines."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout.splitlines()


@pytest.mark.long
@pytest.mark.timeout(260)
def test_fuzzed_messages_are_all_accounted_for_and_leave_no_memory_behind() -> None:
    """Of every input, as they are and mutated; each makes points, or is rejected, or says nothing new."""
    seed = random.randrange(10**6)
    found = json.loads(output("tests.listener.fuzzing", str(seed), str(MESSAGES))[-1])
    assert found["stored"] + found["rejected"] + found["neither"] == MESSAGES, seed
    assert min(found["stored"], found["neither"]) > MESSAGES / 20, seed
    assert found["reasons"].pop("other") == 0, f"a message failed in a way nobody thought of (seed {seed})"
    assert all(found["reasons"].values()), f"a reason that was never met: {found['reasons']} (seed {seed})"
    first_mb, *_, last_mb = found["memory_mb"]
    assert last_mb - first_mb < MOST_GROWTH_MB, f"{found['memory_mb']} (seed {seed})"


@pytest.mark.long
@pytest.mark.timeout(260)
def test_names_topics_and_keys_without_end_fill_no_memory() -> None:
    """All attacks one after the other, in one listener: hundreds of MB each while caches were bounded by number."""
    lines = [line.split() for line in output("tests.listener.hostile") if not line.startswith("20")]
    after_mb = {name: float(mb) for name, mb, _ in lines}
    assert len(after_mb) == len(ATTACKS) + 1
    assert max(after_mb.values()) < MOST_MB, after_mb
