"""Settings: where a value may come from, and what a bad one says."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.settings import HttpSettings, MqttSettings, declared, load, read, setting
from service.usage import markdown_table, sample


@dataclass(frozen=True, kw_only=True)
class Settings(MqttSettings, HttpSettings):
    """A pump's settings."""

    http_port: int = setting(8099, "Port of health.", least=0, most=65535)
    batch_max_points: int = setting(5000, "Most points in one write.", least=1)
    pause_s: float = setting(0.5, "Seconds between tries.", least=0)
    dry_run: bool = setting(False, "Publish nothing.")
    token: str = setting("", "The store's token.", secret=True)
    mode: str = setting("calm", "How it behaves.", choices=("calm", "eager"))


def pump(*argv: str, **environ: str) -> Settings:
    return read("pump", Settings, argv, environ)


def test_a_service_starts_with_its_defaults():
    """Nothing set: the declared defaults, and the service's own default of a shared setting."""
    settings = pump()
    assert (settings.batch_max_points, settings.http_port, settings.mqtt_host) == (5000, 8099, "127.0.0.1")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path):
    """The order is defaults, file, environment, flags."""
    file = tmp_path / "pinloop.toml"
    file.write_text('version = 1\nmqtt_host = "filehost"\n[pump]\nbatch_max_points = 7\npause_s = 2\n')
    settings = pump("--config", str(file), "--batch-max-points=9", PINLOOP_BATCH_MAX_POINTS="8", PINLOOP_PAUSE_S="3")
    assert (settings.batch_max_points, settings.pause_s, settings.mqtt_host) == (9, 3.0, "filehost")


def test_a_variable_for_one_service_wins_over_the_one_for_all():
    """PINLOOP_PUMP_X is meant for this service, PINLOOP_X for every service."""
    assert pump(PINLOOP_MQTT_HOST="all", PINLOOP_PUMP_MQTT_HOST="mine").mqtt_host == "mine"


def test_tables_of_other_services_are_not_its_business(tmp_path: Path):
    """One file serves all services."""
    file = tmp_path / "pinloop.toml"
    file.write_text("[listener]\nanything = 1\n[pump]\nbatch_max_points = 7\n")
    assert pump("--config", str(file)).batch_max_points == 7


def test_a_secret_comes_from_a_file(tmp_path: Path):
    """PINLOOP_X_FILE names a file; the line end is not part of the secret, and repr hides it."""
    (tmp_path / "token").write_text("s3cret\n")
    settings = pump(PINLOOP_TOKEN_FILE=str(tmp_path / "token"))
    assert settings.token == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        (["--batch-max-point=1"], {}, "--batch-max-point: is not a flag (did you mean --batch-max-points?)"),
        (["--batch-max-points"], {}, "--batch-max-points: needs a value"),
        ([], {"PINLOOP_BATCH_MAX_POINTS": "0"}, "PINLOOP_BATCH_MAX_POINTS: '0' must be at least 1"),
        ([], {"PINLOOP_HTTP_PORT": "70000"}, "PINLOOP_HTTP_PORT: '70000' must be at least 0 and at most 65535"),
        ([], {"PINLOOP_PAUSE_S": "soon"}, "PINLOOP_PAUSE_S: 'soon' is not a number"),
        ([], {"PINLOOP_DRY_RUN": "maybe"}, "PINLOOP_DRY_RUN: 'maybe' is not true or false"),
        (["--mode=eagr"], {}, "--mode: 'eagr' is not one of calm, eager (did you mean eager?)"),
        ([], {"PINLOOP_TOKEN_FILE": "/nowhere"}, "PINLOOP_TOKEN_FILE: '/nowhere' cannot be read"),
        (["--config=/nowhere.toml"], {}, "--config: '/nowhere.toml' cannot be read"),
    ],
)
def test_a_bad_value_is_named_with_its_rule(argv: list[str], environ: dict[str, str], message: str):
    """The message names where the value came from, the value, and what it must be."""
    with pytest.raises(SettingsError) as caught:
        pump(*argv, **environ)
    assert message in str(caught.value)


def test_an_unknown_key_in_the_file_suggests_the_nearest(tmp_path: Path):
    """A typing mistake in the file must not silently mean the default."""
    file = tmp_path / "pinloop.toml"
    file.write_text("[pump]\nbatch_max_pionts = 7\n")
    with pytest.raises(SettingsError, match=r"batch_max_pionts: .* \(did you mean batch_max_points"):
        pump("--config", str(file))


def test_a_service_with_a_bad_setting_says_one_line_and_exits_2(capsys: pytest.CaptureFixture[str]):
    """No traceback: people read this."""
    with pytest.raises(SystemExit) as ended:
        load("pump", Settings, ["--pause-s=-1"], {})
    assert ended.value.code == 2
    assert capsys.readouterr().err == "pump: --pause-s: '-1' must be at least 0\n"


def test_help_sample_and_table_name_every_setting(capsys: pytest.CaptureFixture[str]):
    """All three are made from the declarations."""
    with pytest.raises(SystemExit) as ended:
        load("pump", Settings, ["--help"], {})
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for one in declared(Settings):
        assert one.flag in printed
        assert f"# {one.name} = " in sample("pump", declared(Settings))
        assert f"`{one.name}`" in markdown_table("pump", declared(Settings))


def test_the_printed_sample_is_a_file_that_loads(tmp_path: Path):
    """Uncommenting every default gives the same settings as no file at all."""
    file = tmp_path / "pinloop.toml"
    lines = sample("pump", declared(Settings)).splitlines()
    file.write_text("\n".join(line.removeprefix("# ") if line.startswith("# ") else line for line in lines))
    assert pump("--config", str(file)) == pump()
