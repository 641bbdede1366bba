"""The services' metrics (Prometheus text) to points of `services`.

Pure. One point for each set of labels: labels become tags, names become
fields, so that a metric reads the same in a dashboard as in /metrics. Buckets
are left out: a mean is its sum by its count, and they are most of the text.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from store.points import SERVICES, Point

__all__ = ["away", "figures"]

# Of the interpreter; nobody asks.
_BESIDE_THE_POINT = ("python_",)
_LEFT_OUT = ("_bucket", "_created")


def figures(service: str, text: str, ts_ns: int) -> list[Point]:
    """Return the points for what a service's /metrics says, `up` among them.

    Args:
        service: its name, a tag of all of them.
        text: the answer of /metrics.
        ts_ns: when it was asked, nanoseconds since 1970.

    Raises:
        ValueError: it is not Prometheus text.
    """
    found: dict[tuple[tuple[str, str], ...], dict[str, float | str]] = defaultdict(dict)
    own = ("service", service)
    found[(own,)]["up"] = 1.0
    for family in _parsed(text):
        for sample in family.samples:
            name, value = sample.name, float(sample.value)
            if name.endswith(_LEFT_OUT) or name.startswith(_BESIDE_THE_POINT) or not math.isfinite(value):
                continue
            labels = sorted((key, label) for key, label in sample.labels.items() if label and key != "service")
            found[(own, *labels)][name] = value
    return [Point(SERVICES, tags, fields, ts_ns) for tags, fields in found.items()]


def away(service: str, ts_ns: int) -> Sequence[Point]:
    """Return the point for a service that does not answer."""
    return [Point(SERVICES, (("service", service),), {"up": 0.0}, ts_ns)]


def _parsed(text: str) -> list[Metric]:
    try:
        return list(text_string_to_metric_families(text))
    except Exception as error:  # noqa: BLE001  (the parser indexes into what it takes for a line)
        raise ValueError(f"is not Prometheus text ({error})") from None
