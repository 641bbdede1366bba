"""Takes the screenshots in docs/img/ from a real `pinloop up`: `python -m tests.browser.screenshots [--wait-s 240]`.

Waits until the chart has something to show, claims a pin by hand, and takes the
picture while the rule's alert fires.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from pinloop.client import HubClient, find_hub
from tests.browser.conftest import CHROMIUM_ARGS
from tests.support.ports import free_port
from tests.support.processes import ROOT, owned
from tests.support.wait import until

IMAGES = ROOT / "docs" / "img"
WIDTHS = {1280: 800, 390: 844}
MOST_BYTES = 200_000

__all__ = ["WIDTHS", "photograph"]


def main() -> int:
    """Take all screenshots; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait-s", type=float, default=240, help="length of the chart before the pictures are taken")
    wait_s = parser.parse_args().wait_s
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = [f"--{part}-port={free_port()}" for part in ("mqtt", "hub", "webhook", "listener", "rules")]
        command = [
            "python",
            "-c",
            "from pinloop.cli import main; main()",
            "up",
            f"--data-dir={folder / 'data'}",
            *ports,
        ]
        with owned(command, folder / "out"):
            hub = until(lambda: find_hub(None, folder / "data"), 30, "pinloop up")
            until(lambda: _span_s(hub) >= wait_s, wait_s + 60, "enough readings", every_s=1)
            hub.call("PUT", "/pins/lights/green", {"value": 1, "for": "1h", "by": "anna"})
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM_ARGS))
                for width in WIDTHS:
                    for scheme in ("light", "dark"):
                        until(lambda: not _firing(hub), 120, "the alert ends", every_s=0.2)
                        until(lambda: _firing(hub), 120, "the alert fires", every_s=0.2)
                        path = IMAGES / f"console-{width}-{scheme}.png"
                        photograph(browser, hub, width, scheme, path)
                        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
                browser.close()
    return 0


def photograph(browser: Browser, hub: HubClient, width: int, scheme: str, path: Path) -> None:
    """Sign in, wait until the page is live and an alert fires, and write what is seen to `path`."""
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(hub.url)
    page.fill("#password", hub.password)
    page.click("button")
    page.wait_for_selector("#live[data-live=live]")
    page.wait_for_selector(".chart .line")
    page.wait_for_selector(".alerts li")
    page.screenshot(path=path, full_page=True)
    context.close()
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has more than {MOST_BYTES} bytes")


def _span_s(hub: HubClient) -> float:
    points = hub.get("/readings/pot/pot?since_s=600")["points"]
    return points[-1][0] - points[0][0] if points else 0


def _firing(hub: HubClient) -> bool:
    return any(alert["status"] == "firing" for alert in hub.get("/alerts")["alerts"])


if __name__ == "__main__":
    sys.exit(main())
