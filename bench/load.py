"""The load of the ingest benchmark: publishers and the cheapest subscriber, in C where there is a compiler.

Without one, the same commands run in Python (`python -m bench.load_python`): the
publisher sends prepared blocks, the sink scans blocks as the listener does.
"""

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["load_command"]

_SOURCE = Path(__file__).with_name("load.c")


def load_command(folder: Path) -> tuple[list[str], str]:
    """Return the command that runs `load`, and the language that it is in; compiles into `folder`.

    Raises:
        subprocess.CalledProcessError: there is a compiler and it refuses.
    """
    compiler = shutil.which("cc")
    if not compiler:
        return [sys.executable, "-m", "bench.load_python"], "Python"
    program = folder / "load"
    subprocess.run([compiler, "-O2", "-o", program, _SOURCE], check=True)
    return [str(program)], "C"
