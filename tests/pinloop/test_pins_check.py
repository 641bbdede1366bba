"""`pinloop pins check`: what a pins file says, before it guards anything."""

import json
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from pinloop.cli import main
from pinloop.pins_file import quiet_text
from webhook.guards import Quiet

GOOD = """\
version: 1
pins:
  pump/main:
    min_off_s: 120
    max_on_s: 900
    exclusive_with: [pump/back]
    quiet: "22:00-07:00"
    tz: Europe/Madrid
  lamp/hall:
    preference: low
    dry_run: true
"""


def check(folder: Path, text: str | None, *words: str) -> Result:
    """Return what `pinloop pins check` says of a file."""
    if text is not None:
        (folder / "pins.yml").write_text(text)
    return CliRunner().invoke(main, ["pins", "check", "--data-dir", str(folder), *words])


def test_a_good_file_is_told_pin_by_pin(tmp_path: Path) -> None:
    """Also the pin that another one excludes; quiet hours with the zone whose clock they follow."""
    found = check(tmp_path, GOOD)
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in found.output.splitlines()[1:]}
    assert found.exit_code == 0
    assert rows["lamp/hall"] == ["-", "-", "low", "yes"]
    assert rows["pump/back"] == ["not with pump/main", "-", "-", "-"]
    assert rows["pump/main"][0] == "min_off_s=120, max_on_s=900, not with pump/back"
    assert rows["pump/main"][1].startswith("22:00-07:00 Europe/Madrid (")


def test_the_sample_is_good() -> None:
    """And says nothing of any pin."""
    assert CliRunner().invoke(main, ["pins", "check", "webhook/pins.yml"]).output == "webhook/pins.yml: pins: 0\n"


def test_json_is_what_stands_in_the_file(tmp_path: Path) -> None:
    """For programs."""
    said = json.loads(check(tmp_path, GOOD, "--json").output)
    assert said["ok"] is True
    assert said["pins"]["pump/main"] == {
        "min_off_s": 120, "max_on_s": 900, "exclusive_with": ["pump/back"], "quiet": "22:00-07:00",
        "tz": "Europe/Madrid",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\npins:\n  pump/main: {min_of_s: 3}\n", "pins.yml:3: pin pump/main: min_of_s: is not a key"),
        ('version: 1\npins:\n  pump/main: {quiet: "22:00-07:00"}\n', "pump/main: tz: is missing"),
        ("version: 1\npins:\n  pump/main: {tz: Europe/Madrid}\n", "tz: is of no use without quiet"),
        ('version: 1\npins:\n  pump/main: {quiet: "22:00-07:00", tz: CEST}\n', "'CEST' is not a time zone"),
        ("version: 1\npins:\n  - pump/main\n", "pins"),
        (None, "there is no file"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str | None, said: str) -> None:
    """Quiet hours without a zone are one: no machine's own zone is taken for it."""
    found = check(tmp_path, text)
    assert (found.exit_code, said in found.output) == (1, True), found.output


def test_every_mistake_is_told_to_programs(tmp_path: Path) -> None:
    """With line, entry and key of each."""
    said = json.loads(check(tmp_path, "version: 1\npins:\n  a: {}\n  b/c: {min_on_s: x}\n", "--json").output)
    assert [(one["line"], one["rule"], one["key"]) for one in said["problems"]] == [
        (3, "a", ""),
        (4, "b/c", "min_on_s"),
    ]


def test_quiet_hours_show_what_their_clock_shows() -> None:
    """Somebody who wrote another zone than theirs sees it."""
    quiet = Quiet(time(22), time(7), ZoneInfo("America/New_York"))
    noon_s, night_s = (datetime(2026, 1, 5, hour, 30, tzinfo=UTC).timestamp() for hour in (17, 4))
    assert quiet_text(quiet, noon_s) == "22:00-07:00 America/New_York (12:30 there: not now)"
    assert quiet_text(quiet, night_s) == "22:00-07:00 America/New_York (23:30 there: quiet now)"
