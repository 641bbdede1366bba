"""Many lives of one service, quickly: a process that has imported it forks a child for each life.

`python -m tests.support.nursery listener` reads one line a life: the failpoint at which the child is to die ("-": at
none), writes the child's process id, and when the child is dead "dead". A life begins in milliseconds instead of the
half second that importing takes. Ends with its standard input.
"""

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.processes import ROOT, die_with_parent


class Nursery:
    """The far end, in the test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def life(self, failpoint: str = "-") -> int:
        """Begin a life; return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(failpoint + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def dead(self) -> None:
        """Wait for its end."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "dead\n"


@contextlib.contextmanager
def nursery(service: str, output: Path, env: Mapping[str, str]) -> Iterator[Nursery]:
    """Run a nursery for the length of a `with` block; what the lives print goes to `output`."""
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery", service],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, env={**os.environ, **env}, cwd=ROOT, text=True,
            preexec_fn=die_with_parent,
        )  # fmt: skip
        try:
            yield Nursery(process)
        finally:
            process.terminate()
            process.wait(10)


def _serve(service: str) -> None:
    main = importlib.import_module(f"{service}.__main__").main
    failpoints = importlib.import_module("service.failpoints")
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            die_with_parent()
            os.dup2(2, 1)  # its logs are no answers of ours
            failpoints._ARMED = line.strip()
            code = 1
            try:
                code = main([])
            finally:
                os._exit(code)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
