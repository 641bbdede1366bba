"""Makes what local mode needs and is not there yet: secrets, broker files, samples of people's files, virtual devices.

Idempotent: a second start changes nothing that exists.
"""

import os
from collections.abc import Mapping, Sequence
from importlib import resources

import firmware.sim
from contract.errors import TopicError
from contract.topics import Topics
from inputs import Inputs, load
from pinloop.broker_files import DOCTOR_DEVICE, SERVICE_USERS, acl_text, check_users, mosquitto_conf, password_text
from pinloop.errors import PinloopError
from pinloop.local.embedded_broker import write_users
from pinloop.local.layout import Layout, Ports
from pinloop.secrets import read_or_make, write_file
from rules.errors import RulesError
from rules.load import load_rules
from service.document import DocumentError
from service.errors import SettingsError
from webhook.foreign.model import Device
from webhook.pin_file import load_pins
from webhook.routes_file import load_routes

__all__ = ["VIRTUAL_DEVICES", "own_boards", "prepare"]

# device id -> profile
VIRTUAL_DEVICES: Mapping[str, str] = {"pot": "pot", "lights": "lights"}


def prepare(
    layout: Layout, ports: Ports, bind: str, own_devices: Sequence[str], sweep_s: float, embedded: bool
) -> Inputs:
    """Make the data folder's content; return the inputs of other firmware that it declares.

    Args:
        layout: where.
        ports: the broker's port goes into the devices' configuration.
        bind: the address that the broker listens on.
        own_devices: device ids of the user's own boards, which get a broker user each.
        sweep_s: period of the virtual potentiometer, in seconds.
        embedded: the broker is amqtt, which reads another user file than mosquitto.

    Raises:
        OSError: the folder cannot be written.
        PinloopError: a file that the user writes has a mistake.
    """
    for folder in (layout.secrets, layout.broker, layout.logs, layout.devices):
        folder.mkdir(parents=True, exist_ok=True)
    layout.secrets.chmod(0o700)
    for user in ("console", "alerts", "operator"):
        read_or_make(layout.password(user))
    read_or_make(layout.hmac_key, 43)
    for path, package, sample in (
        (layout.inputs, "listener", "inputs.toml"),
        (layout.rules, "rules", "sample.yml"),
        (layout.pins, "webhook", "pins.yml"),
        (layout.routes, "webhook", "routes.yml"),
    ):
        if not path.exists():
            path.write_bytes(resources.files(package).joinpath(sample).read_bytes())
    inputs = _inputs(layout)
    names = _broker_users(layout, own_devices)
    _look_at_names(layout, names, inputs)
    users = {user: read_or_make(layout.password(user)) for user in names}
    _broker_files(layout, ports.mqtt, bind, users, embedded, inputs)
    _look_at_rules_and_pins(layout)
    for device, profile in VIRTUAL_DEVICES.items():
        _device(layout, device, profile, ports.mqtt, sweep_s)
    return inputs


def own_boards(layout: Layout) -> list[str]:
    """Return the boards of the user's own that the broker lets in: those named at this start or an earlier one."""
    return sorted(set(_broker_users(layout, ())) - {*SERVICE_USERS, DOCTOR_DEVICE, *VIRTUAL_DEVICES})


def _broker_users(layout: Layout, own_devices: Sequence[str]) -> list[str]:
    """Return every broker user: the services, the doctor's, the virtual devices, and boards named now or earlier."""
    earlier = [path.stem for path in layout.secrets.glob("*.password")]
    known = {*SERVICE_USERS, DOCTOR_DEVICE, *VIRTUAL_DEVICES, *own_devices, *earlier}
    return sorted(known - {"console", "alerts", "operator"})


def _broker_files(
    layout: Layout, port: int, bind: str, users: Mapping[str, str], embedded: bool, inputs: Inputs
) -> None:
    folder = layout.broker.resolve()
    write_file(folder / "acl", acl_text(inputs=inputs, devices=_declared(layout)))
    if embedded:
        write_users(layout.broker / "users.json", dict(users))
        return
    passwd = folder / "passwd"
    old = passwd.read_text(encoding="utf-8") if passwd.exists() else ""
    write_file(passwd, password_text(users, old))
    write_file(folder / "mosquitto.conf", mosquitto_conf(bind, port, folder, run_as_root=os.geteuid() == 0))


def _inputs(layout: Layout) -> Inputs:
    try:
        return load(layout.inputs)
    except SettingsError as error:
        raise PinloopError(
            layout.inputs_mistake(error), "Mend it: `pinloop inputs check` says whether it is good."
        ) from None


def _declared(layout: Layout) -> list[Device]:
    """Return the devices of other firmware that the webhook stands in for."""
    try:
        return list(load_routes(layout.routes, Topics()).devices.values())
    except DocumentError as error:
        raise PinloopError(str(error), "Mend it: `pinloop routes check` says whether it is good.") from None


def _look_at_names(layout: Layout, users: Sequence[str], inputs: Inputs) -> None:
    try:
        check_users(set(users) - set(SERVICE_USERS), inputs=inputs, devices=_declared(layout))
    except TopicError as error:
        raise PinloopError(
            str(error), f"Start without this --device; of an earlier start, delete its {layout.secrets}/*.password."
        ) from None


def _look_at_rules_and_pins(layout: Layout) -> None:
    """Say now what their services would say again and again, in vain."""
    try:
        load_rules(layout.rules)
    except RulesError as error:
        raise PinloopError(str(error), "Mend it: `pinloop rules check` says whether it is good.") from None
    try:
        load_pins(layout.pins)
    except DocumentError as error:
        raise PinloopError(str(error), "Mend it: `pinloop pins check` says whether it is good.") from None


def _device(layout: Layout, device: str, profile: str, mqtt_port: int, sweep_s: float) -> None:
    folder = layout.devices / device
    mqtt = {
        "host": "127.0.0.1",
        "port": mqtt_port,
        "user": device,
        "password": layout.password(device).read_text(encoding="ascii").strip(),
        "prefix": "pinloop",
    }
    knob = folder / "adc32"
    if profile == "pot" and not knob.exists():
        folder.mkdir(parents=True, exist_ok=True)
        knob.write_text(f"sweep {sweep_s:g}\n", encoding="ascii")
    firmware.sim.create_device(folder, device, profile, mqtt)
