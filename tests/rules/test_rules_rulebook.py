"""The rules in force, what GET /rules shows of them, and the settings."""

import json
import os
from pathlib import Path

import pytest

from rules.errors import RulesError
from rules.intake import Reading
from rules.rulebook import Rulebook
from rules.runner import Runner
from rules.settings import Settings, require
from rules.state import State
from rules.view import application
from service.errors import SettingsError

GOOD = """version: 1
rules:
- {name: bright, when: pot > 80, clear: pot < 70, over: 10s, for: 5s, then: [lights/red = 1]}
- {name: lamp, daily: 18:00, lasts: 1h, tz: UTC, then: [porch/lamp = 1]}
- {name: elsewhere, when: pot > 90, then: [lights/red = 1], engine: grafana}
"""
WALL = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(GOOD)
    return path


def names(rulebook: Rulebook) -> list[str]:
    return [rule.name for rule in rulebook.rules]


def test_rules_of_other_engines_are_left_to_them(file: Path):
    """In local mode there is no Grafana, and every rule is evaluated here."""
    assert names(Rulebook(file, ["stream"])) == ["bright", "lamp"]
    assert names(Rulebook(file, ["stream", "grafana"])) == ["bright", "lamp", "elsewhere"]


def test_at_the_start_a_bad_file_is_an_error(file: Path):
    """There are no older rules to go on with."""
    file.write_text("version: 3")
    with pytest.raises(RulesError, match="'3' is not 1"):
        Rulebook(file, ["stream"])


@pytest.mark.parametrize("bad", ["version: 1\nrules:\n- {name: x}", "", None])
def test_a_bad_file_leaves_the_old_rules_in_force_and_is_told(file: Path, bad: str | None):
    """Mistakes, an empty file, none at all."""
    rulebook = Rulebook(file, ["stream"])
    assert rulebook.problem() is None
    if bad is None:
        file.unlink()
    else:
        file.write_text(bad)
    assert not rulebook.reload()
    assert names(rulebook) == ["bright", "lamp"]
    assert f"stay in force; first: {file}" in (rulebook.problem() or "")
    file.write_text(GOOD.replace("bright", "brighter"))
    assert rulebook.reload()
    assert names(rulebook) == ["brighter", "lamp"]
    assert rulebook.problem() is None


def test_a_file_is_taken_over_when_it_has_changed_and_stands_still(file: Path):
    """One that is being written could be read half."""
    rulebook = Rulebook(file, ["stream"])
    assert not rulebook.changed()
    file.write_text(GOOD[:40])
    assert not rulebook.changed()
    file.write_text(GOOD + "# more\n")
    assert not rulebook.changed()
    assert rulebook.changed()
    assert rulebook.reload()
    assert not rulebook.changed()
    other = file.with_name("new")
    other.write_text(GOOD + "# even\n")
    os.replace(other, file)  # noqa: PTH105  (as editors do it)
    assert not rulebook.changed()
    assert rulebook.changed()


def test_get_rules_shows_each_rule_with_its_state_for_each_device(file: Path, tmp_path: Path):
    """Value, since when it fires, and for a daily rule the next change."""
    clock = {"now": 10.0, "wall": WALL}
    rulebook = Rulebook(file, ["stream"])
    runner = Runner(
        rulebook.rules, State(tmp_path / "s.db", WALL), lambda *_: None, 60,
        lambda: clock["now"], lambda: clock["wall"],
    )  # fmt: skip
    app = application(rulebook, runner, lambda: clock["wall"])

    def get(path: str = "/rules") -> tuple[str, dict]:
        status: list[str] = []
        body = b"".join(app({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda text, _headers: status.append(text)))
        return status[0], json.loads(body)

    runner.feed(Reading("pot", "pot", 90.0))
    runner.feed(Reading("attic", "pot", 10.0))
    status, body = get()
    assert status == "200 OK"
    assert body["problems"] == []
    bright, lamp = body["rules"]
    assert (bright["when"], bright["clear"], bright["over_s"], bright["reduce"]) == ("pot > 80", "pot < 70", 10, "mean")
    assert [(one["device"], one["status"], one["value"]) for one in bright["states"]] == [
        ("attic", "ok", 10),
        ("pot", "pending", 90),
    ]
    assert lamp["next_change_s"] == WALL + 3 * 3600 + 46 * 60 + 40
    assert [one["status"] for one in lamp["states"]] == ["ok"]
    clock.update(now=15.0, wall=WALL + 5)
    runner.tick()
    pot = get()[1]["rules"][0]["states"][1]
    assert (pot["status"], pot["firing_since_s"], pot["since_s"]) == ("firing", WALL + 5, WALL + 5)
    file.write_text("version: 1")
    rulebook.reload()
    assert get()[1]["problems"] == [f"{file}:1: rules: is missing"]
    assert get("/other")[0].startswith("404")


@pytest.mark.parametrize(
    "url",
    ["", "webhook:8081/alert", "ftp://webhook/alert", "http:///alert", "http://[", "http://alerts:secret@webhook"],
)
def test_a_webhook_url_that_is_none_is_told(url: str):
    """Before anything is connected; a password in it would be in every log."""
    with pytest.raises(SettingsError, match="--webhook-url") as caught:
        require(Settings(webhook_url=url))
    assert "secret" not in str(caught.value)


def test_the_default_settings_are_good():
    """A newcomer sets the password and nothing else."""
    require(Settings())
