"""Topics of devices that do not keep to the contract: a bare number on a topic that is not ours.

The listener stores them and rules evaluate them, so both read one setting the same way.
"""

from dataclasses import dataclass

from contract.topics import is_device, is_name
from service.errors import SettingsError
from service.settings import setting

__all__ = ["ExtraTopicsSettings", "parse_extra"]


@dataclass(frozen=True, kw_only=True)
class ExtraTopicsSettings:
    """Which topics beside the contract's are readings."""

    topics_extra: str = setting(
        "", 'Topics of devices that do not keep to the contract, "topic=device/sensor,..." ("/pot=seed/pot").'
    )


def parse_extra(text: str) -> dict[str, tuple[str, str]]:
    """Return topic -> (device, sensor) from `topic=device/sensor,...`.

    Raises:
        SettingsError: an entry is outside that grammar.
    """
    found: dict[str, tuple[str, str]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        topic, _, target = entry.partition("=")
        device, _, sensor = target.partition("/")
        if not topic or any(char in "+#\0" for char in topic) or not is_device(device) or not is_name(sensor):
            raise SettingsError(f"topics_extra: {entry!r} is not topic=device/sensor")
        found[topic] = (device, sensor)
    return found
