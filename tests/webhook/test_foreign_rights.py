"""What the broker allows for devices of other firmware: what routes.yml declares, and not one topic more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinloop.broker_files import acl_text, password_text
from pinloop.errors import PinloopError
from pinloop.local.embedded_broker import Acl
from pinloop.local.layout import Layout, Ports
from pinloop.local.prepare import prepare
from pinloop.setup import Secrets
from tests.support.broker import Broker, Client, running_broker
from tests.support.processes import Child
from tests.support.wait import until
from tests.webhook.conftest import Webhook
from webhook.routes_file import parse_routes

ROUTES = """
version: 1
devices:
  kettle: {kind: tasmota, topic: kettle, user: tasmota-1, pins: {power: {dead_man: true}}}
  plug: {kind: shelly2, topic: shellyplus1-ab, pins: {power: }}
"""
DEVICES = parse_routes(ROUTES).devices.values()
WRITES = {
    "pinloop/kettle/status", "pinloop/kettle/info", "pinloop/kettle/pin/power/state", "cmnd/kettle/POWER1",
    "cmnd/kettle/STATE", "cmnd/kettle/PulseTime1", "pinloop/plug/status", "pinloop/plug/info",
    "pinloop/plug/pin/power/state", "shellyplus1-ab/rpc",
}  # fmt: skip
READS = {
    "stat/kettle/RESULT", "stat/kettle/STATE", "stat/kettle/POWER1", "stat/kettle/POWER", "tele/kettle/STATE",
    "tele/kettle/LWT", "pinloop-plug/rpc", "shellyplus1-ab/events/rpc", "shellyplus1-ab/online",
    "shellyplus1-ab/status/switch:0",
}  # fmt: skip
OTHERS = {
    "pinloop/lights/status", "pinloop/lights/pin/red/state", "pinloop/kettle/reading/x", "pinloop/kettle/pin/fan/state",
    "pinloop/kettle/cmd", "cmnd/kettle/POWER2", "cmnd/kettle/Backlog", "cmnd/other/POWER1", "stat/other/RESULT",
    "shellyplus1-ab/command", "shellyplus1-ab/status/switch:1", "zigbee2mqtt/lamp/set",
}  # fmt: skip
USERS = ("svc.webhook", "tasmota-1", "plug", "watcher")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("guarded")
    folder.joinpath("passwd").write_text(password_text({user: f"{user}-password" for user in USERS}))
    folder.joinpath("acl").write_text(acl_text(devices=DEVICES) + "\nuser watcher\ntopic readwrite #\n")
    with running_broker(folder, f"allow_anonymous false\npassword_file {folder}/passwd\nacl_file {folder}/acl") as one:
        yield one


@pytest.fixture
def sign_in(guarded: Broker) -> Iterator[Callable[[str], Client]]:
    clients: list[Client] = []

    def one(user: str) -> Client:
        clients.append(Client(guarded, user=user, password=f"{user}-password"))
        return clients[-1]

    yield one
    for client in clients:
        client.close()


def passed(writer: Client, reader: Client, topics: set[str], end: tuple[Client, str]) -> set[str]:
    """Return which of the topics reach the reader when the writer publishes to each; `end` surely does."""
    seen = reader.collect("#")
    for topic in sorted(topics):
        writer.publish(topic, "hello")
    end[0].publish(end[1], "end")
    seen.until(lambda message: message.payload == b"end")
    return {message.topic for message in seen if message.payload == b"hello"}


def test_the_webhook_writes_what_is_declared_and_nothing_else(sign_in: Callable[[str], Client]) -> None:
    """Commands to the devices, and what their twins say at Pinloop."""
    watcher = sign_in("watcher")
    assert passed(sign_in("svc.webhook"), watcher, WRITES | READS | OTHERS, (watcher, "end/x")) == WRITES


def test_the_webhook_hears_what_is_declared_and_nothing_else(sign_in: Callable[[str], Client]) -> None:
    """Beside what it hears of every Pinloop device."""
    watcher = sign_in("watcher")
    topics = READS | WRITES | {one for one in OTHERS if not one.startswith("pinloop/")}
    end = (watcher, "tele/kettle/LWT")
    heard = passed(watcher, sign_in("svc.webhook"), topics, end)
    assert {one for one in heard if not one.startswith("pinloop/")} == READS


@pytest.mark.parametrize(("user", "own"), [("tasmota-1", "kettle"), ("plug", "shellyplus1-ab")])
def test_a_device_of_other_firmware_touches_its_own_topics(
    sign_in: Callable[[str], Client], user: str, own: str
) -> None:
    """It reads what the webhook writes to it, and writes what the webhook reads."""
    watcher, device = sign_in("watcher"), sign_in(user)
    mine = {one for one in READS if own in one or one == f"pinloop-{user}/rpc"}
    foreign = {one for one in READS | WRITES | OTHERS if not one.startswith("pinloop/")}
    assert passed(device, watcher, foreign, (watcher, "end/x")) == mine
    commands = {one for one in WRITES if own in one and not one.startswith("pinloop/")}
    end = (watcher, sorted(commands)[0])
    assert passed(watcher, device, foreign - {end[1]}, end) == commands - {end[1]}


def test_a_claim_reaches_the_device_and_its_word_comes_back_within_these_rights(
    guarded: Broker, sign_in: Callable[[str], Client], spawn: Callable[..., Child], tmp_path: Path
) -> None:
    """The webhook as its own user, the device as its own: nobody needs more than what is declared."""
    routes = tmp_path / "routes.yml"
    routes.write_text(ROUTES)
    user = {"mqtt_user": "svc.webhook", "mqtt_password": "svc.webhook-password"}
    webhook = Webhook(spawn, guarded, tmp_path, {"routes_path": routes, **user}).start()
    device = sign_in("tasmota-1")
    commands = device.collect("cmnd/kettle/POWER1")
    device.publish("tele/kettle/LWT", "Online", retain=True)
    webhook.alert("cold", "kettle/power=1")
    commands.until(lambda message: message.payload == b"ON")
    device.publish("stat/kettle/RESULT", '{"POWER":"ON"}')
    facts = until(lambda: (found := webhook.pin("kettle", "power"))["reported"] and found, 5, "the device's word")
    assert (facts["reported"]["value"], facts["reported"]["why"]) == (1, "command")
    webhook.kill()


def test_the_embedded_broker_reads_the_same_rights() -> None:
    """One text for both brokers."""
    acl = Acl(acl_text(devices=DEVICES))
    for topic in WRITES | READS | OTHERS:
        assert acl.allows("svc.webhook", topic, write=True) is (topic in WRITES), topic
    for topic in READS:
        assert acl.allows_subscription("svc.webhook", topic), topic
    assert not acl.allows_subscription("svc.webhook", "stat/#")


def test_setup_writes_the_rights_of_the_declared_devices(tmp_path: Path) -> None:
    """And a second run changes nothing."""
    for changed in (True, False):
        secrets = Secrets(tmp_path / "secrets", devices=list(DEVICES))
        secrets.folder.mkdir(exist_ok=True)
        secrets.prepare()
        assert ("mosquitto/acl" in secrets.changed) is changed
    assert "topic write cmnd/kettle/POWER1" in (tmp_path / "secrets/mosquitto/acl").read_text()


@pytest.mark.parametrize("embedded", [True, False])
def test_local_mode_writes_the_rights_of_the_declared_devices(tmp_path: Path, embedded: bool) -> None:
    """Whichever broker runs; and a mistake in routes.yml is told before anything starts."""
    layout = Layout(tmp_path, tmp_path / "rules.yml")
    layout.routes.write_text("version: 1\ndevices:\n  k: {kind: tasmota, topic: kettle, pins: {power: }}\n")
    prepare(layout, Ports(), "127.0.0.1", [], 20.0, embedded)
    assert "topic write cmnd/kettle/POWER1" in (layout.broker / "acl").read_text()
    layout.routes.write_text("version: 3\n")
    with pytest.raises(PinloopError, match=r"routes.yml:1: version: '3' is not 1"):
        prepare(layout, Ports(), "127.0.0.1", [], 20.0, embedded)
