"""The supervisor with real children: restarts with back-off, an orderly stop, nothing left behind."""

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinloop.local.supervisor import Part, Supervisor
from tests.support.processes import Child
from tests.support.wait import until

STAYS = """
import signal, sys, time
def end(*_):
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('up', flush=True)
time.sleep(60)
"""
STUBBORN = STAYS.replace("sys.exit(0)", "pass")


def python(name: str, code: str, stop_rank: int = 0) -> Part:
    return Part(name, [sys.executable, "-c", code], stop_rank=stop_rank)


def alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def events() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def supervise(tmp_path: Path, events: list[tuple[str, str]]) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def start(*parts: Part) -> Supervisor:
        made.append(Supervisor(parts, tmp_path, lambda part, what: events.append((part, what))))
        made[-1].start({})
        for runner in made[-1].runners:
            until(lambda runner=runner: not runner.alive or runner.last_line() == "up", what="the part's first line")
        return made[-1]

    yield start
    for supervisor in made:
        supervisor.stop()


def test_a_part_that_dies_is_started_again(supervise: Callable[..., Supervisor], events: list[tuple[str, str]]):
    """Killed from outside: shown with its signal, back after the first back-off."""
    supervisor = supervise(python("pump", STAYS))
    first = supervisor.runners[0].process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    supervisor.tend()
    assert events == [("pump", "killed by signal 9; starts again in 0.5 s")]
    until(lambda: (supervisor.tend(), supervisor.runners[0].alive)[1], what="the part runs again")
    assert events[-1] == ("pump", "started again (restart 1)")


def test_a_part_that_dies_at_once_is_tried_ever_more_slowly(supervise: Callable[..., Supervisor], events: list):
    """The delay doubles, and the reason is the last line that it printed."""
    supervisor = supervise(python("pump", "print('no config'); raise SystemExit(3)"))
    until(lambda: (supervisor.tend(), len([what for _, what in events if "starts again in" in what]) >= 3)[1], 10)
    ends = [what for _, what in events if "starts again" in what]
    assert ends[0] == "ended with code 3; no config; starts again in 0.5 s"
    assert ends[1].endswith("in 1 s")
    assert ends[2].endswith("in 2 s")


def test_parts_stop_in_the_order_of_their_rank(supervise: Callable[..., Supervisor], tmp_path: Path):
    """Makers of readings first, the broker last."""
    order = tmp_path / "order"
    parts = [
        python(name, STAYS.replace("sys.exit(0)", f"open({str(order)!r}, 'a').write('{name} '); sys.exit(0)"), rank)
        for name, rank in (("broker", 2), ("pot", 0), ("rules", 1))
    ]
    supervise(*parts).stop()
    assert order.read_text() == "pot rules broker "


def test_a_part_that_ignores_sigterm_is_killed_and_said(
    supervise: Callable[..., Supervisor], events: list, monkeypatch: pytest.MonkeyPatch
):
    """A stop ends, whatever a part does."""
    monkeypatch.setattr("pinloop.local.supervisor._STOP_TIMEOUT_S", 0.3)
    supervisor = supervise(python("pump", STUBBORN))
    process = supervisor.runners[0].process
    supervisor.stop()
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert events == [("pump", "did not stop within 0.3 s, killed")]


def test_no_part_outlives_a_supervisor_that_is_killed(spawn: Callable[..., Child], tmp_path: Path):
    """SIGKILL gives it no chance to tidy up; the kernel does."""
    code = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from pinloop.local.supervisor import Part, Supervisor
        import sys
        supervisor = Supervisor([Part("pump", [sys.executable, "-c", {STUBBORN!r}])], Path({str(tmp_path)!r}), print)
        supervisor.start({{}})
        print(supervisor.runners[0].process.pid, flush=True)
        time.sleep(60)
    """)
    parent = spawn(["python", "-c", code])
    pid = int(until(lambda: parent.text().strip(), 10, "the child's pid"))
    until(lambda: (tmp_path / "pump.log").read_text() == "up\n", what="the child is up")
    assert alive(pid)
    os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not alive(pid), 5, "the child is gone")


def test_a_part_starts_when_what_it_needs_is_there(tmp_path: Path):
    """The services find the broker at their first try."""
    supervisor = Supervisor([python("broker", STAYS), python("listener", STAYS)], tmp_path, lambda *_: None)
    ready_at = time.monotonic() + 0.1
    assert supervisor.start({"listener": lambda: time.monotonic() > ready_at}) is None
    assert time.monotonic() > ready_at
    assert supervisor.runners[1].alive
    supervisor.stop()


def test_starting_ends_before_a_part_whose_need_does_not_come(tmp_path: Path):
    """The caller shows the last line of what failed; the rest was never started."""
    parts = [python("broker", "print('port taken')"), python("listener", STAYS)]
    supervisor = Supervisor(parts, tmp_path, lambda *_: None)
    assert supervisor.start({"listener": lambda: False}, timeout_s=0.5) == "listener"
    assert supervisor.runners[0].last_line() == "port taken"
    assert not supervisor.runners[1].started
    supervisor.stop()
