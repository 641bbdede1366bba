"""The console of the stack in a real browser, as people see it; `make fault-table` keeps the pictures."""

import os
from pathlib import Path

from playwright.sync_api import sync_playwright

from pinloop.client import HubClient
from tests.browser.conftest import CHROMIUM_ARGS
from tests.browser.screenshots import photograph
from tests.stack.checks import until_pins
from tests.stack.compose import ROOT, Stack
from tests.stack.load import Wishes
from tests.support.requirements import need


def test_people_see_an_alert_and_the_pin_that_it_switches(stack: Stack, wishes: Wishes, tmp_path: Path) -> None:
    """Signed in with the password that `setup show` prints, on a desktop and on a phone."""
    chromium = need("chromium", "apt-get install chromium")
    folder = ROOT / "docs" / "img" if os.environ.get("PINLOOP_FAULT_TABLE") == "write" else tmp_path
    wishes.red(1)
    until_pins(stack, {"red": 1, "green": 0})
    hub = HubClient(f"http://127.0.0.1:{stack.ports['CONSOLE_PORT']}", stack.secret("console_password"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        for width, scheme in ((1280, "light"), (390, "dark")):
            path = folder / f"stack-{width}-{scheme}.png"
            photograph(browser, hub, width, scheme, path)
            assert path.stat().st_size > 10_000
        browser.close()
    wishes.red(0)
