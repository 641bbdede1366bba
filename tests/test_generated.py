"""Files that a command makes are what that command makes now."""

import pytest

from tests.support.generated import GENERATED, ROOT


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_current(name: str):
    """`make docs` writes it."""
    assert (ROOT / name).read_text(encoding="utf-8") == GENERATED[name](), f"{name} is stale: run `make docs`"
