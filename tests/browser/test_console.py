"""The console in a real browser."""

import json
from typing import Any

import pytest

from tests.browser.conftest import PROBES, STREAMS, sign_in
from tests.hub.running import Board, RunningHub
from tests.hub.test_hub_api import Stream
from tests.support.wait import until

pytestmark = pytest.mark.browser

VALUE = "[data-reading='pot/pot'] .value"
RED = "[data-pin='lights/red']"


def text(page: Any, selector: str) -> str:
    """Return what stands in the first element that matches."""
    return str(page.text_content(selector))


def test_a_wrong_password_is_told(chromium: Any, hub: RunningHub) -> None:
    """The form comes again with the reason, and focus in the field."""
    page = chromium.new_page()
    page.goto(hub.url)
    page.wait_for_function("document.activeElement.id === 'password'")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem")
    assert page.evaluate("document.activeElement.id") == "password"
    page.close()


def test_a_value_changes_without_a_reload(page: Any, pot: Board) -> None:
    """In the list, and as a point of the chart."""
    page.evaluate("window.same = true")
    pot.send("reading/pot", "73.5")
    until(lambda: text(page, VALUE) == "73.5")
    until(lambda: text(page, ".chart .value") == "73.5")
    pot.send("reading/pot", "74")
    until(lambda: text(page, VALUE) == "74.0")  # the width stays
    assert page.evaluate("window.same")
    assert page.locator(".chart .tip").count() == 1


def test_a_pin_is_switched_and_released_with_the_keyboard(page: Any, hub: RunningHub, lights: Board) -> None:
    """Enter on a button makes the manual claim with an end; focus stays where it was."""
    page.locator(f"{RED} button[value='1']").focus()
    page.keyboard.press("Enter")
    lights.obey("red", 1)
    until(lambda: text(page, f"{RED} .state").strip() == "on")
    until(lambda: "Manual claim by console asks for on since" in " ".join(text(page, f"{RED} .why").split()))
    assert "claimed until" in text(page, "#said")
    assert page.evaluate("document.activeElement.id") == "v1-lights--red"
    claim = hub.get("/api/pins/lights/red/why")[1]["claims"][0]
    assert (claim["slot"], round((claim["until_s"] - claim["since_s"]) / 60)) == ("manual", 15)
    until(lambda: page.get_attribute(f"{RED} button[value='1']", "aria-pressed") == "true")
    page.locator(f"{RED} .release").focus()
    page.keyboard.press("Enter")
    until(lambda: hub.get("/api/pins/lights/red/why")[1]["claims"] == [])
    until(lambda: page.locator(f"{RED} .release").count() == 0)


def test_a_line_that_comes_or_goes_leaves_the_focus_where_it_was(page: Any, lights: Board) -> None:
    """Somebody may be about to press the button: what stays is the same element as before."""
    page.locator(f"{RED} button[value='1']").focus()
    lights.send("status", "offline", retain=True)
    page.wait_for_selector(f"{RED} .differs")
    assert page.evaluate("document.activeElement.id") == "v1-lights--red"
    lights.send("status", "online", retain=True)
    page.wait_for_selector(f"{RED} .differs", state="detached")
    assert page.evaluate("document.activeElement.id") == "v1-lights--red"


def test_until_takes_a_time_of_day(page: Any, hub: RunningHub, lights: Board) -> None:
    """The field appears with the choice and is filled in; the claim ends then."""
    page.select_option(f"{RED} select", "until")
    page.wait_for_selector(f"{RED} input[name=until]")
    page.locator(f"{RED} button[value='1']").click()
    lights.obey("red", 1)
    claim = until(lambda: hub.get("/api/pins/lights/red/why")[1]["claims"])[0]
    assert 110 < (claim["until_s"] - claim["since_s"]) / 60 <= 120
    hub.call("DELETE", "/api/pins/lights/red")


def test_a_pin_that_does_not_follow_is_marked(page: Any, hub: RunningHub, lights: Board) -> None:
    """After a second without the wanted report the card says so in words; it stops with the report."""
    hub.call("PUT", "/api/pins/lights/red", {"value": 1})
    page.wait_for_selector(f"{RED} .differs", timeout=5000)
    assert "Wanted on, but reported off" in text(page, f"{RED} .differs")
    lights.obey("red", 1)
    until(lambda: page.locator(f"{RED} .differs").count() == 0)
    hub.call("DELETE", "/api/pins/lights/red")


def test_an_absent_device_is_not_shown_as_current(page: Any, lights: Board) -> None:
    """Its pins say that this is the last report, and of when."""
    lights.send("status", "offline", retain=True)
    until(lambda: "last off" in " ".join(text(page, f"{RED} .state").split()))
    assert "this is its last report" in text(page, RED)
    lights.send("status", "online", retain=True)
    until(lambda: text(page, f"{RED} .state").strip() == "off")


def test_a_firing_alert_appears_and_goes(page: Any, hub: RunningHub, lights: Board) -> None:
    """With its summary and what it asks for."""
    hub.alert("firing", "lights/red=1")
    page.wait_for_selector(".alerts li", timeout=5000)
    assert "mean of the last 10 s" in text(page, ".alerts")
    until(lambda: "too-bright asks for on" in " ".join(text(page, f"{RED} .why").split()))
    hub.alert("resolved", "lights/red=1")
    until(lambda: "No alert is firing." in text(page, "#alerts"))


def test_open_details_and_choices_survive_changes(page: Any, lights: Board) -> None:
    """A part that is fetched again is merged, not replaced."""
    lights.report("red", 1, why="local")
    page.wait_for_selector(f"{RED}.on")
    page.select_option(f"{RED} select", "4h")
    lights.report("red", 0, why="local")
    page.wait_for_selector(f"{RED}:not(.on)")
    assert page.input_value(f"{RED} select") == "4h"


def test_it_says_that_it_is_not_live_any_more_and_recovers(page: Any, hub: RunningHub, pot: Board) -> None:
    """The hub goes away and comes back: since when, everything greyed, then live again by itself."""
    hub.hub.end()
    page.wait_for_selector("#lost:not([hidden])", timeout=8000)
    assert "No connection since" in text(page, "#lost")
    assert text(page, "#live-text") == "not live"
    hub.start_hub()
    page.wait_for_selector("#live[data-live=live]", timeout=15000)
    until(lambda: (pot.send("reading/pot", "12.5"), text(page, VALUE) == "12.5")[1], 8, every_s=0.2)
    # the refused connections meanwhile are the browser's to report
    page.complaints[:] = [one for one in page.complaints if "ERR_" not in one]


def test_without_a_free_stream_the_page_polls(page: Any, hub: RunningHub, pot: Board) -> None:
    """It says so, and values still change."""
    page.goto("about:blank")
    taken: list[Stream] = []
    until(lambda: _take_every_stream(hub, taken), 20, every_s=0.2)
    page.goto(hub.url)
    until(lambda: text(page, "#live-text") == "live, every 2 s", 8)
    pot.send("reading/pot", "33.5")
    until(lambda: text(page, VALUE) == "33.5")
    for stream in taken:
        stream.close()
    # the browser reports the refused stream
    page.complaints[:] = [one for one in page.complaints if "503" not in one]


def _take_every_stream(hub: RunningHub, taken: list[Stream]) -> bool:
    """Add an open stream to `taken` if there is a free one; tell whether these are all."""
    stream = Stream(hub)
    if stream.status == 200:
        taken.append(stream)
    else:
        stream.close()
    return len(taken) == STREAMS


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(
    chromium: Any, hub: RunningHub, lights: Board, pot: Board, width: int, scheme: str
) -> None:
    """No sideways scrolling, contrast of 4.5 for every text, a name for every control, fingers hit every button."""
    context = chromium.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, has_touch=width < 500, is_mobile=width < 500
    )
    context.add_init_script(path=PROBES)
    page = context.new_page()
    sign_in(page, hub)
    hub.call("PUT", "/api/pins/lights/green", {"value": 1})
    page.wait_for_selector("[data-pin='lights/green'] .differs", timeout=5000)
    hub.alert("firing", "lights/red=1")
    page.wait_for_selector(".alerts li", timeout=5000)
    # the widest that a card gets
    page.wait_for_selector("[data-pin='lights/green'] .release")
    page.select_option("[data-pin='lights/green'] select", "until")
    page.click("[data-pin='lights/green'] summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("probes.faint()") == []
    assert page.evaluate("probes.unlabelled()") == []
    assert width > 500 or page.evaluate("probes.smallButtons()") == 0
    hub.alert("resolved", "lights/red=1")
    hub.call("DELETE", "/api/pins/lights/green")
    context.close()


def test_focus_is_visible(page: Any) -> None:
    """What has the focus has an outline."""
    page.keyboard.press("Tab")
    outline = json.loads(page.evaluate("JSON.stringify(getComputedStyle(document.activeElement).outlineStyle)"))
    assert outline == "solid"


def test_values_do_not_move_the_page(page: Any, pot: Board) -> None:
    """A change of a value changes no place: everything below stays where it is."""
    pot.send("reading/pot", "50.5")
    until(lambda: text(page, VALUE) == "50.5")
    before = page.evaluate("probes.places()")
    pot.send("reading/pot", "9.5")
    until(lambda: text(page, VALUE) == "9.5")
    assert page.evaluate("probes.places()") == before


def test_a_wish_that_a_guard_holds_back_says_why_and_counts_down(page: Any, hub: RunningHub) -> None:
    """The pump that has just stopped has to rest; the wish is not taken for a fault."""
    pump = Board(hub.broker, "pump", {"fw": "t", "sensors": {}, "pins": {"main": {"safe": 0, "min_off_s": 600}}})
    pump.report("main", 0, why="boot")
    until(lambda: hub.call("PUT", "/api/pins/pump/main", {"value": 1, "for": "5m"})[0] == 200)
    pump.obey("main", 1)
    hub.call("DELETE", "/api/pins/pump/main")
    pump.report("main", 0, why="released")
    hub.call("PUT", "/api/pins/pump/main", {"value": 1, "for": "30m", "by": "anna"})
    card = page.locator("#pin-pump--main")
    card.locator(".held").wait_for()
    assert "On has to wait" in card.locator(".held").inner_text()
    until(lambda: card.locator(".held time").inner_text().startswith("9:5"), 5, "a second less")
    assert card.locator(".differs:visible").count() == 0
    hub.call("DELETE", "/api/pins/pump/main")
    card.locator(".held").wait_for(state="detached")
    pump.client.close()


def test_the_first_charts_are_of_different_devices(page: Any, hub: RunningHub, pot: Board) -> None:
    """Not the four sensors that come first by name, and never a battery; without status a device is not "unknown"."""
    attic = Board(hub.broker, "attic", {"sensors": {}, "pins": {}})
    attic.send("status", "", retain=True)  # forgotten: from here on only its readings tell of it
    for sensor in ("battery", "dew_point", "humidity", "pressure", "temperature"):
        attic.send(f"reading/{sensor}", "20")
    until(lambda: page.locator(".chart").count() == 4)
    drawn = page.locator(".chart figcaption").all_text_contents()
    assert sum(name.startswith("pot/pot") for name in drawn) == 1
    assert not any("battery" in name for name in drawn)
    until(lambda: text(page, "[data-device='attic'] .status") == "readings, no status")
    assert "1 without status" in text(page, "#devices .count")
    attic.client.close()
