"""What the doctor says of files that wait for a start, of names that nobody has, and of a broker that hangs."""

import os
import socket
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from contract.topics import Topics
from inputs import load
from pinloop.broker_files import acl_text
from pinloop.doctor import broker
from pinloop.doctor.findings import Finding
from pinloop.doctor.names import strangers
from pinloop.doctor.taken_over import check_files
from pinloop.doctor.target import Target
from pinloop.local.layout import Layout
from service.settings import MqttSettings
from store import StoreSettings
from webhook.routes_file import load_routes

PLUG = "version: 1\ndevices:\n  plug: {kind: tasmota, topic: plug, pins: {power: {relay: 1}}}\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The data folder of an instance that has just started, with the files as they are shipped."""
    found = Layout(tmp_path, tmp_path / "rules.yml")
    found.inputs.write_bytes(resources.files("listener").joinpath("inputs.toml").read_bytes())
    found.routes.write_bytes(resources.files("webhook").joinpath("routes.yml").read_bytes())
    os.utime(found.inputs, (time.time() - 60,) * 2)
    started(found)
    return found


def started(layout: Layout) -> None:
    """Write what a start writes."""
    layout.broker.mkdir(exist_ok=True)
    devices = load_routes(layout.routes, Topics()).devices.values()
    (layout.broker / "acl").write_text(acl_text(inputs=load(layout.inputs), devices=devices))
    layout.running.write_text("{}")


def target(**facts: Any) -> Target:
    """Return a local Pinloop of which only these facts are known."""
    return replace(
        Target("local", MqttSettings(), {"hub": "http://127.0.0.1:1"}, {}, {}, StoreSettings()),
        **facts,
    )


def only(layout: Layout) -> Finding:
    (found,) = check_files(target(layout=layout))
    return found


def test_a_device_that_was_declared_after_the_start_is_told(layout: Layout) -> None:
    """The broker drops what is sent to it without a word, until the next start."""
    assert only(layout).level == "ok"
    layout.routes.write_text(PLUG)
    assert only(layout).level == "warning"
    assert "stop and start `pinloop up`" in only(layout).do
    started(layout)
    assert only(layout).level == "ok"


def test_routes_alone_need_no_start(layout: Layout) -> None:
    """The twin: the webhook takes them over by itself."""
    layout.routes.write_text("version: 1\nroutes: [{matchers: ['alertname=\"Dry\"'], targets: [lights/red=1]}]\n")
    assert only(layout).level == "ok"


def test_inputs_that_were_changed_after_the_start_are_told(layout: Layout) -> None:
    """Also where no right follows from the change, as with a time zone."""
    text = layout.inputs.read_text().replace("[tasmota]", '[tasmota]\ntimezone = "Europe/Madrid"')
    layout.inputs.write_text(text)
    os.utime(layout.inputs, (time.time() + 5,) * 2)
    assert only(layout).level == "warning"


def test_inputs_that_the_next_start_refuses_are_told_now(layout: Layout) -> None:
    """Nothing else reads the file before that."""
    layout.inputs.write_text("version = 1\n[zigbe2mqtt]\n")
    assert only(layout).level == "broken"
    assert only(layout).saw == f"{layout.inputs}: zigbe2mqtt: is no input (did you mean zigbee2mqtt?)."


def rule(name: str, when: str | None, *then: str) -> dict[str, Any]:
    """Return a rule as GET /rules shows it; None: by the clock."""
    return {"name": name, "then": list(then), **({"when": when} if when else {"daily": "18:00"})}


def device(name: str, sensors: tuple[str, ...] = (), pins: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a device as GET /api/devices shows it."""
    info = {"sensors": {}, "pins": {name: {} for name in pins}}
    return {"device": name, "readings": {sensor: {} for sensor in sensors}, "info": info}


HOUSE = (device("attic", ("temperature",)), device("fans", (), ("main",)))


def test_a_sensor_and_a_pin_that_nobody_has_are_named_with_what_may_be_meant() -> None:
    """A misspelt name is no mistake in the file, and the rule never fires."""
    found = {one.check: one for one in strangers([rule("too-warm", "temprature > 28.0", "fan/main=1")], HOUSE)}
    assert "temprature (rule too-warm; did you mean temperature?)" in found["rules' sensors"].saw
    assert "fan/main (rule too-warm; did you mean fans/main?)" in found["rules' pins"].saw
    assert {one.level for one in found.values()} == {"warning"}


def test_names_that_somebody_has_are_no_finding() -> None:
    """The twin; `{device}` is whoever sent the reading, a rule by the clock looks at no sensor."""
    good = [rule("too-warm", "temperature > 28.0", "fans/main=1", "{device}/fan=1"), rule("lamp", None, "fans/main=1")]
    assert list(strangers(good, HOUSE)) == []


def test_before_anything_was_heard_no_name_is_doubted() -> None:
    """That there is no device is a finding of its own."""
    assert list(strangers([rule("too-warm", "temperature > 28.0", "fans/main=1")], ())) == []


def test_a_broker_that_hangs_is_not_said_to_have_wrong_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing; nor is it said to turn strangers away."""
    monkeypatch.setattr(broker, "_SIGN_IN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = MqttSettings(mqtt_host="127.0.0.1", mqtt_port=silent.getsockname()[1])
        (found,) = broker.check_broker(target(mqtt=where, passwords={"svc.hub": "x", "svc.rules": "y"}))
    assert found.level == "broken"
    assert "takes connections and does not answer" in found.saw
    assert "password" not in found.saw + found.do
