"""`pinloop rules render` and `check` with Grafana's files."""

import json
from pathlib import Path
from shutil import copytree

import pytest
import yaml
from click.testing import CliRunner, Result

from pinloop.cli import main

ROOT = Path(__file__).parents[2]
RULE = "- {name: NAME, when: pot > 80, engine: grafana, then: [lights/red = 1]}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's folder with our provisioning and the rules a and b, rendered."""
    copytree(ROOT / "grafana" / "provisioning", tmp_path / "grafana" / "provisioning")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RULES_FILE", raising=False)
    (tmp_path / "grafana/provisioning/alerting/rules.yaml").unlink()
    say("a", "b")
    assert run("render", "rules.yml").exit_code == 0
    return tmp_path


def say(*names: str, more: str = "") -> None:
    """Write the rules file."""
    rules = "".join(RULE.replace("NAME", name) for name in names) + more
    Path("rules.yml").write_text(f"version: 1\nrules:\n{rules}" if rules else "version: 1\nrules: []\n")


def run(*words: str) -> Result:
    """Run `pinloop rules WORDS`."""
    return CliRunner().invoke(main, ["rules", *words])


def rendered() -> str:
    """Return Grafana's file."""
    return Path("grafana/provisioning/alerting/rules.yaml").read_text()


def paused() -> dict[str, bool]:
    """Return title -> whether it is paused."""
    return {rule["title"]: rule["isPaused"] for rule in yaml.safe_load(rendered())["groups"][0]["rules"]}


def test_rendering_again_changes_nothing(place: Path) -> None:
    """Not even the file's time."""
    path = place / "grafana/provisioning/alerting/rules.yaml"
    before = path.stat().st_mtime_ns

    result = run("render", "rules.yml")

    assert (result.exit_code, result.stdout) == (0, "grafana/provisioning/alerting/rules.yaml is current\n")
    assert path.stat().st_mtime_ns == before
    assert run("render", "rules.yml", "--check").exit_code == 0


def test_check_says_what_would_change_and_changes_nothing(place: Path) -> None:
    """Exit 1, for CI: one added, one changed, one gone."""
    say("c", more="- {name: a, when: pot > 90, for: 1m, engine: grafana, then: [lights/red = 1]}\n")
    before = rendered()

    result = run("render", "rules.yml", "--check")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "added c",
        "changed a: annotations.summary, data, for",
        "paused b",
        "grafana/provisioning/alerting/rules.yaml is stale",
    ]
    assert rendered() == before


def test_a_rule_that_is_gone_is_paused_and_one_that_is_back_goes_on(place: Path) -> None:
    """Grafana forgets no provisioned rule: the uid stays for ever."""
    say("a")
    assert "paused b" in run("render", "rules.yml").stdout
    assert paused() == {"a": False, "b": True}
    say()
    assert run("render", "rules.yml").exit_code == 0
    assert paused() == {"a": True, "b": True}
    say("b", "a")
    assert run("render", "rules.yml").stdout.splitlines()[:2] == ["resumed b", "resumed a"]
    assert paused() == {"a": False, "b": False}


def test_a_rules_file_with_a_mistake_renders_nothing(place: Path) -> None:
    """What is there stays."""
    before = rendered()
    say("a", more="- {name: x, when: pot}\n")

    result = run("render", "rules.yml")

    assert result.exit_code == 1
    assert "rule x: then: is missing" in result.stderr
    assert rendered() == before


@pytest.mark.parametrize("text", ["a: [", "hello", "groups: [1]", "groups:\n- {rules: [{title: x}]}"])
def test_a_file_that_is_not_ours_is_not_overwritten(place: Path, text: str) -> None:
    """Whoever put it there wants it."""
    Path("grafana/provisioning/alerting/rules.yaml").write_text(text)

    result = run("render", "rules.yml")

    assert result.exit_code == 1
    assert "rules.yaml: is not a file that `pinloop rules render` wrote" in result.stderr
    assert rendered() == text


def test_render_goes_where_it_is_told_and_leaves_nothing_beside_it(place: Path) -> None:
    """Also into a folder that is not there yet; a left-over there would stop Grafana."""
    result = run("render", "rules.yml", "--out", "elsewhere/alerting")

    # The data source is not there: said, and not written.
    assert result.exit_code == 1
    assert "'influxdb' is no data source's uid here (there is none)" in result.stderr
    copytree("grafana/provisioning/datasources", "elsewhere/datasources")
    assert run("render", "rules.yml", "--out", "elsewhere/alerting").exit_code == 0
    assert [path.name for path in Path("elsewhere/alerting").iterdir()] == ["rules.yaml"]
    assert Path("elsewhere/alerting/rules.yaml").read_text() == rendered()
    assert not list(Path("elsewhere").glob(".*"))


def test_the_rules_file_is_the_one_that_the_stack_mounts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES_FILE, as in docker-compose.yml."""
    monkeypatch.setenv("RULES_FILE", "rules.yml")
    assert run("render", "--check").exit_code == 0


def test_rules_check_tells_what_grafana_would_get_and_reject(place: Path) -> None:
    """Its own mistakes first; Grafana's files only where they are."""
    say("a", "b", "c")
    result = run("check", "rules.yml")
    assert result.exit_code == 0
    assert "Grafana, with `pinloop rules render`: added c" in result.stdout

    Path("grafana/provisioning/alerting/policies.yaml").write_text("apiVersion: 1\npolicies: [{receiver: nobody}]\n")
    result = run("check", "rules.yml")
    assert result.exit_code == 1
    assert "policies.yaml:2: receiver: 'nobody' is no contact point here (pinloop-webhook)" in result.stderr
    answer = json.loads(run("check", "rules.yml", "--json").stdout)
    assert (answer["ok"], answer["rules"]) == (False, ["a", "b", "c"])
    assert [one["key"] for one in answer["problems"]] == ["receiver"]
    assert answer["grafana"] == [{"kind": "added", "title": "c", "uid": "pinloop-c", "keys": []}]


def test_rules_check_needs_no_grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local mode has none."""
    monkeypatch.chdir(tmp_path)
    say("a")
    result = run("check", "rules.yml")
    assert (result.exit_code, "Grafana" in result.stdout) == (0, False)
