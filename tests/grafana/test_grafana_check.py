"""What Grafana would reject: found before it does not start, with the line and what to do."""

from pathlib import Path
from shutil import copytree

import pytest

from rules.grafana import render
from rules.grafana_check import rejected
from rules.load import load_rules, parse_rules

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "grafana" / "provisioning"
FIXTURES = sorted((Path(__file__).parent / "fixtures").iterdir())
MESSAGES = (Path(__file__).parent / "messages.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Our provisioning without rules and policies: what the fixtures refer to."""
    copytree(PROVISIONING / "datasources", tmp_path / "datasources")
    (tmp_path / "alerting").mkdir()
    contact_points = (PROVISIONING / "alerting" / "contact-points.yaml").read_text(encoding="utf-8")
    (tmp_path / "alerting" / "contact-points.yaml").write_text(contact_points)
    return tmp_path


def test_our_own_files_are_taken() -> None:
    """All of them, together."""
    assert rejected(PROVISIONING) == []


def test_every_fixture_has_its_messages() -> None:
    """In messages.txt; and no message is left of a fixture that is gone."""
    assert {path.name for path in FIXTURES} == {message.partition(":")[0] for message in MESSAGES}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_what_grafana_would_reject_is_told_with_its_line(folder: Path, path: Path) -> None:
    """Each file has one thing wrong with it, and what follows from that."""
    file = folder / "alerting" / path.name
    file.write_text(path.read_text(encoding="utf-8"))

    told = [str(one).replace(f"{folder}/alerting/", "") for one in rejected(folder)]

    assert told == [message for message in MESSAGES if message.startswith(path.name + ":")]


def test_what_is_wrong_between_two_files_is_found(folder: Path) -> None:
    """Uids and titles are Grafana's, not a file's."""
    sample = render(load_rules(ROOT / "rules" / "sample.yml"))
    for name in ("a.yaml", "b.yml"):
        (folder / "alerting" / name).write_text(sample)

    told = [f"{Path(one.path).name} {one.key}" for one in rejected(folder)]

    assert told == ["b.yml uid", "b.yml title"]


def test_a_file_of_another_suffix_stops_grafana(folder: Path) -> None:
    """An editor's copy is enough."""
    (folder / "alerting" / "rules.yaml.bak").write_text("")

    (problem,) = rejected(folder)

    assert str(problem).endswith("rules.yaml.bak: is not one of .yaml .yml .json: Grafana does not start")


def test_a_folder_that_is_not_there_and_an_empty_file_are_no_problem(tmp_path: Path) -> None:
    """Grafana reads past both."""
    assert rejected(tmp_path / "nowhere") == []
    (tmp_path / "alerting").mkdir()
    (tmp_path / "alerting" / "empty.yaml").write_text("# nothing\n")
    assert rejected(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "when: pot > 80, over: 10s, clear: pot < 70, for: 90s",
        "when: pot != 1.5e3, no_data: {after: 36h, do: hold}, slot: safety",
        "when: attic.pot <= -3, over: 1h max, no_data: {after: 365d}",
        "when: pot == 0, device: [a, b], for: 500ms",
    ],
)
def test_whatever_is_rendered_is_taken(folder: Path, text: str) -> None:
    """The two agree: what rules.yml allows for Grafana, Grafana takes."""
    name = "n" * 64
    file = f"version: 1\nrules:\n- {{name: {name}, engine: grafana, {text}, then: ['{{device}}/fan = 1', a/b = 0.5]}}"
    (folder / "alerting" / "rules.yaml").write_text(render(parse_rules(file)))

    assert rejected(folder) == []
