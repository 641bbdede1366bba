"""Figures of every service: named in Prometheus' manner, and listed in the documentation."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

ROOT = Path(__file__).parents[2]
SERVICES = ("hub", "listener", "rules", "service", "webhook")
for _path in sorted(path for service in SERVICES for path in (ROOT / service).rglob("*.py")):
    if "prometheus_client import" in _path.read_text():
        importlib.import_module(".".join(_path.relative_to(ROOT).with_suffix("").parts))
FAMILIES = [one for one in REGISTRY.collect() if not one.name.startswith(("python_", "process_"))]
SAID = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
_NAME = r"[a-z]+(_[a-z]+)*"


def test_each_service_has_figures() -> None:
    """Or the tests below would look at nothing."""
    assert {one.name.split("_")[0] for one in FAMILIES} >= {"hub", "listener", "rules", "mqtt", "webhook"}
    assert len(FAMILIES) > 50


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_a_figure_is_named_as_prometheus_names_them(family: Any) -> None:
    """Base units at the end, `_total` for counters alone, a sentence of help, no label that a scraper sets itself.

    Source: prometheus.io/docs/practices/naming, and what `promtool check metrics` looks at.
    """
    assert re.fullmatch(_NAME, family.name)
    assert family.documentation.endswith(".")
    assert not re.search(r"_(total|count|sum|bucket|info)$", family.name)  # the library adds those
    assert not re.search(r"_(ms|us|ns|milli\w*|micro\w*|minutes|hours|days|kb|kilo\w*|percent)(_|$)", family.name)
    if family.type == "histogram":
        assert family.name.endswith(("_seconds", "_bytes"))
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert all(re.fullmatch(_NAME, label) for label in labels)
    assert not labels & {"job", "instance", "quantile"}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_a_figure_is_listed_in_the_documentation(family: Any) -> None:
    """With the name that /metrics shows."""
    shown = family.name + ("_total" if family.type == "counter" else "")
    assert re.search(rf"`{shown}[`{{]", SAID), shown
