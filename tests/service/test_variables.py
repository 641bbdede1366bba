"""A misspelt PINLOOP_ variable is told by every service and by the command; what others read is not."""

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinloop.cli import main
from service.settings import HttpSettings, load
from service.variables import unknown
from tests.support.processes import ROOT


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("PINLOOP_WEBHOK_TTL_S", "PINLOOP_WEBHOOK_TTL_S"),
        ("PINLOOP_WEBHOOK_TTL", "PINLOOP_WEBHOOK_TTL_S"),
        ("PINLOOP_MQTT_HOTS", "PINLOOP_MQTT_HOST"),
        ("PINLOOP_MQTT_PASSWORD_FIL", "PINLOOP_MQTT_PASSWORD_FILE"),
        ("PINLOOP_DATADIR", "PINLOOP_DATA_DIR"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_one(written: str, meant: str) -> None:
    """Of whatever service it is."""
    assert unknown([written]) == [f"{written}: is no variable of Pinloop and has no effect (did you mean {meant}?)"]


def test_one_that_is_like_no_other_is_told_without_a_guess() -> None:
    """A wrong guess would lead astray."""
    assert unknown(["PINLOOP_SOMETHING_ELSE"]) == [
        "PINLOOP_SOMETHING_ELSE: is no variable of Pinloop and has no effect"
    ]


def test_variables_of_others_are_no_mistake() -> None:
    """One environment serves all services, the command and the stack; what does not begin with PINLOOP_ is not ours."""
    others = ["PINLOOP_HUB_STALE_S", "PINLOOP_CLAIMS_PATH", "PINLOOP_OPERATOR_PASSWORD_FILE", "PINLOOP_DATA_DIR"]
    assert unknown([*others, "PINLOOP_DOCTOR_GRAFANA_URL", "ROUTES_FILE", "PINLOP_X", "PATH"]) == []


def test_a_setting_that_belongs_to_another_service_is_told_under_this_one_s_name() -> None:
    """The hub has no claims: PINLOOP_HUB_CLAIMS_PATH sets nothing."""
    assert unknown(["PINLOOP_HUB_CLAIMS_PATH"])


def test_every_variable_that_the_repository_sets_or_reads_is_known() -> None:
    """Compose files, Makefile, scripts and code: none of them makes a service warn."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")  # fmt: skip
    names = set()
    for path in map(Path, filter(None, tracked)):
        text_of_ours = path.suffix in (".py", ".yml", ".yaml", ".env", ".sh", ".example") or path.name == "Makefile"
        if text_of_ours and path.parts[:2] != ("tests", "service") and (ROOT / path).is_file():
            text = (ROOT / path).read_text(encoding="utf-8")
            names |= set(re.findall(r"\bPINLOOP_[A-Z0-9_]*[A-Z0-9]\b(?!_)", text))
    assert len(names) > 50
    # In help texts X and NAME stand for a setting's name.
    assert unknown(names - {"PINLOOP_X", "PINLOOP_DOCTOR_X", "PINLOOP_NAME"}) == []


def test_a_service_warns_at_its_start_and_runs_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, before its log begins; its own settings are known whoever declares them."""
    load("pump", HttpSettings, [], {"PINLOOP_PUMP_HTTP_PORTS": "1", "PINLOOP_PUMP_HTTP_PORT": "1"})
    assert capsys.readouterr().err == (
        "pump: warning: PINLOOP_PUMP_HTTP_PORTS: is no variable of Pinloop and has no effect"
        " (did you mean PINLOOP_PUMP_HTTP_PORT?)\n"
    )


def test_the_command_warns_and_goes_on() -> None:
    """On stderr: what a program reads from stdout stays what it is."""
    found = CliRunner().invoke(main, ["config", "hub"], env={"PINLOOP_URI": "http://x"})
    assert found.exit_code == 0
    assert found.stderr.startswith("pinloop: warning: PINLOOP_URI: is no variable")
    assert found.stdout.startswith("version = 1")
