"""What the listener's tests share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.requirements import missing


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]).returncode:
        missing("a file system of 1 MB takes root and mount")
    yield path
    subprocess.run(["umount", "-l", path], check=True)
