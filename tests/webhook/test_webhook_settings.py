"""The webhook's settings."""

import pytest

from service.errors import SettingsError
from webhook.settings import Settings, preferences_of, require

GOOD = {"alert_password": "a", "operator_password": "b"}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "--alert-password: is missing; generate one with `openssl rand"),
        ({"alert_password": "a"}, "--operator-password: is missing"),
        ({"alert_password": "a", "operator_password": "a"}, "must differ"),
        ({**GOOD, "legacy_actuate": "lights=1"}, "--legacy-actuate: 'lights=1' is not device/pin=value"),
    ],
)
def test_what_cannot_be_used_is_named(values: dict[str, str], line: str) -> None:
    """A webhook without passwords never starts."""
    with pytest.raises(SettingsError, match=line):
        require(Settings(**values))


def test_good_settings_pass() -> None:
    """And their passwords stay out of what is printed."""
    settings = Settings(**GOOD, legacy_actuate="lights/red=1")
    require(settings)
    assert "operator_password" not in repr(settings)


def test_preferences_are_read_by_pin() -> None:
    """Spaces and nothing at all are fine."""
    assert preferences_of(" lights/red=low, pump/main=newest") == {("lights", "red"): "low", ("pump", "main"): "newest"}
    assert preferences_of("") == {}


@pytest.mark.parametrize("text", ["lights/red", "lights/red=max", "lights=low", "L/red=low"])
def test_preferences_outside_the_grammar_are_refused(text: str) -> None:
    """The error names the setting."""
    with pytest.raises(SettingsError, match="--preferences"):
        preferences_of(text)
