"""`python -m grafana.build`: write the dashboards' JSON, which Grafana reads as it is.

The builders are the source; the JSON is committed so that a clone works
without a build, and a test says when it is stale.
"""

import json
from pathlib import Path

from grafana.builders.actuation import actuation
from grafana.builders.device import device
from grafana.builders.itself import itself
from grafana.builders.overview import overview

__all__ = ["files"]

_FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[Path, str]:
    """Return path -> text of every dashboard."""
    built = {
        "overview.json": overview(),
        "device.json": device(),
        "actuation.json": actuation(),
        "itself.json": itself(),
    }
    return {_FOLDER / name: json.dumps(one, indent=2, ensure_ascii=False) + "\n" for name, one in built.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
