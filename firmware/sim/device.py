"""The folder of a virtual device: its configuration as on a board's flash, and its pins as files."""

import json
from pathlib import Path
from typing import Any

from contract.topics import Topics, check_device

__all__ = ["PROFILES", "create_device"]

PROFILES = Path(__file__).resolve().parents[1] / "profiles"
# What the potentiometer of a virtual device does until somebody turns it: 0 to 100 % and back in a minute.
_SWEEP = "sweep 60\n"
_CA = "ca.pem"


def create_device(folder: Path, device: str, profile: str, mqtt: dict[str, Any], ca_path: Path = Path()) -> None:
    """Write `folder/device.json`, again when it is there; the pins' files keep what they are.

    Args:
        folder: the device's own; made when it is not there.
        device: its id, also its user at the broker unless `mqtt` names one.
        profile: a file of firmware/profiles without `.json`.
        mqtt: host, port, user, password, prefix, keepalive_s; only `host` is needed.
        ca_path: the certificate (PEM) that the broker's must be signed by; it is copied. Without a name: no TLS.

    Raises:
        ContractError: the id or the prefix is outside the grammar.
        ValueError: there is no such profile.
        OSError: a file cannot be read or written.
    """
    check_device(device)
    Topics(mqtt.get("prefix", "pinloop"))
    source = PROFILES / f"{profile}.json"
    known = sorted(path.stem for path in PROFILES.glob("*.json"))
    if profile not in known:
        raise ValueError(f"profile: {profile!r} is not one of {', '.join(known)}")
    folder.mkdir(parents=True, exist_ok=True)
    if ca_path.name:
        (folder / _CA).write_text(ca_path.read_text(encoding="ascii"))
        mqtt = {**mqtt, "tls": {"ca": _CA}}
    config = {"device": device, "profile": profile, "mqtt": mqtt, **json.loads(source.read_text())}
    target = folder / "device.json"
    target.touch(mode=0o600)  # it holds the device's password
    target.write_text(json.dumps(config, indent=2) + "\n")
    for sensor in config.get("sensors", {}).values():
        voltage = folder / f"adc{sensor.get('gpio')}"
        if sensor["driver"] == "adc" and not voltage.exists():
            voltage.write_text(_SWEEP)
