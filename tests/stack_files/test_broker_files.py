"""The broker's files against a real mosquitto: who gets in, who may say what, and what is refused."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from contract import topics
from pinloop import broker_files, secrets
from pinloop.setup import DEMO_DEVICES, Secrets
from tests.support.broker import Broker, Client, running_broker
from tests.support.requirements import need

WATCHER = "watcher"
DEVICE = "pot-1"
OTHER = "pot-2"
USERS = (*broker_files.SERVICE_USERS, broker_files.HEALTH_USER, DEVICE, OTHER, WATCHER)
TOPICS = topics.Topics()

DEVICE_WRITES = {"status", "info", "reading/+", "readings", "pin/+/state", "config/state", "ota", "log"}
DEVICE_READS = {"pin/+/set", "cmd", "config/set"}
RIGHTS = {  # user -> (kinds that it reads, kinds that it writes), of every device
    "svc.listener": (set(topics.KINDS), {"relayed"}),
    "svc.rules": ({"reading/+", "readings", "relayed", "status"}, set()),
    "svc.webhook": ({"pin/+/set", "pin/+/state", "status", "info"}, {"pin/+/set"}),
    "svc.hub": (set(topics.KINDS), {"cmd", "config/set"}),
    broker_files.HEALTH_USER: (set(), set()),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with our ACL and passwords, and one more user that sees and may do everything."""
    folder = tmp_path_factory.mktemp("guarded")
    folder.joinpath("passwd").write_text(broker_files.password_text({user: f"{user}-password" for user in USERS}))
    everything = f"\nuser {WATCHER}\ntopic readwrite #\n"
    folder.joinpath("acl").write_text(broker_files.acl_text() + everything)
    files = f"allow_anonymous false\npassword_file {folder}/passwd\nacl_file {folder}/acl"
    with running_broker(folder, files) as broker:
        yield broker


@pytest.fixture
def sign_in(guarded: Broker) -> Iterator[Callable[[str], Client]]:
    """Return a function that signs a user in; every client is closed at the end."""
    clients: list[Client] = []

    def one(user: str) -> Client:
        clients.append(Client(guarded, user=user, password=f"{user}-password"))
        assert not clients[-1].refused
        return clients[-1]

    yield one
    for client in clients:
        client.close()


def topic_of(kind: str, device: str) -> str:
    """Return an example topic of a kind."""
    return TOPICS.build(kind, device, "x" if "+" in kind else "")


def every_topic() -> dict[tuple[str, str], str]:
    """Return (kind, device) -> topic for both devices."""
    return {(kind, device): topic_of(kind, device) for kind in topics.KINDS for device in (DEVICE, OTHER)}


def arrivals(writer: Client, watcher: Client, wanted: list[str], end: str) -> list[str]:
    """Return which of the topics arrive at the watcher when the writer publishes to each."""
    seen = watcher.collect("#")
    for topic in wanted:
        writer.publish(topic, "hello")
    # Messages of one broker to one client keep their order: once the last one is there, nothing else is on its way.
    watcher.publish(end, "end")
    seen.until(lambda message: message.topic == end)
    return [topic for topic in seen.topics() if topic != end]


def test_a_device_may_write_what_it_reports_and_nothing_of_another_device(sign_in: Callable[[str], Client]) -> None:
    """A denied publish is acknowledged all the same; it must not arrive."""
    known = every_topic()
    outside = ["pinloop", f"pinloop/{DEVICE}", f"pinloop/{DEVICE}/more", "other/topic", f"other/{DEVICE}/status"]

    arrived = arrivals(sign_in(DEVICE), sign_in(WATCHER), [*known.values(), *outside], "end/device")

    assert set(arrived) == {known[kind, DEVICE] for kind in DEVICE_WRITES}


def test_a_device_hears_only_its_own_commands(sign_in: Callable[[str], Client]) -> None:
    """Subscribing to everything is granted and filtered."""
    watcher, device = sign_in(WATCHER), sign_in(DEVICE)
    known = every_topic()
    seen = device.collect("#")
    last = topic_of("cmd", DEVICE)

    for topic in [*known.values(), "other/topic"]:
        watcher.publish(topic, "hello")
    watcher.publish(last, "end")
    seen.until(lambda message: message.payload == b"end")

    assert {message.topic for message in seen} == {known[kind, DEVICE] for kind in DEVICE_READS}


@pytest.mark.parametrize("user", sorted(RIGHTS))
def test_a_service_may_write_what_its_duty_needs_and_nothing_else(sign_in: Callable[[str], Client], user: str) -> None:
    """Also below its own name, where the devices' patterns would let it."""
    known = every_topic()
    own = [f"pinloop/{user}/{kind.replace('+', 'x')}" for kind in topics.KINDS]

    arrived = arrivals(sign_in(user), sign_in(WATCHER), [*known.values(), *own, "other/topic"], f"end/{user}")

    assert set(arrived) == {topic for (kind, _), topic in known.items() if kind in RIGHTS[user][1]}


@pytest.mark.parametrize("user", sorted(RIGHTS))
def test_a_service_hears_what_its_duty_needs_and_nothing_else(sign_in: Callable[[str], Client], user: str) -> None:
    """The watcher publishes on every topic; then something arrives that the service surely hears."""
    watcher, service = sign_in(WATCHER), sign_in(user)
    known = every_topic()
    expected = {topic for (kind, _), topic in known.items() if kind in RIGHTS[user][0]}
    seen = service.collect("#")

    for topic in [*known.values(), "other/topic"]:
        watcher.publish(topic, "hello")
    if expected:
        last = sorted(expected)[0]
        watcher.publish(last, "end")
        seen.until(lambda message: message.payload == b"end")

    assert {message.topic for message in seen} == expected


def test_the_health_user_reads_the_uptime_of_the_broker(sign_in: Callable[[str], Client]) -> None:
    """What the container's health check asks for."""
    seen = sign_in(broker_files.HEALTH_USER).collect(broker_files.HEALTH_TOPIC)

    assert b"seconds" in seen.until(lambda message: message.payload).payload


@pytest.mark.parametrize(("user", "password"), [("", ""), (DEVICE, "wrong"), ("unknown", "x"), (DEVICE, "")])
def test_nobody_gets_in_without_the_right_password(guarded: Broker, user: str, password: str) -> None:
    """Anonymous clients least of all."""
    with Client(guarded, user=user, password=password) as client:
        assert client.refused


def test_the_whole_configuration_starts_and_carries_a_message(tmp_path: Path) -> None:
    """The file that `pinloop up` and the stack use, as it is."""
    broker = Broker(tmp_path)
    (tmp_path / "passwd").write_text(broker_files.password_text({DEVICE: "a", "svc.listener": "b"}))
    (tmp_path / "acl").write_text(broker_files.acl_text())
    broker.config.write_text(broker_files.mosquitto_conf("127.0.0.1", broker.port, tmp_path, run_as_root=True))
    broker.start()
    try:
        with (
            Client(broker, user="svc.listener", password="b") as listener,
            Client(broker, user=DEVICE, password="a") as device,
        ):
            seen = listener.collect("pinloop/#")
            device.publish(f"pinloop/{DEVICE}/readings", '{"pot":61.5}')
            assert seen.until(lambda message: message.payload).payload == b'{"pot":61.5}'
    finally:
        broker.stop()
    assert (tmp_path / "mosquitto.db").stat().st_size > 0
    complaints = [line for line in broker.process.text().splitlines() if "Warning" in line or "Error" in line]
    assert not [line for line in complaints if "run as root" not in line]


def test_a_password_file_keeps_the_lines_that_still_hold() -> None:
    """A second run changes nothing; a changed password changes its own line only."""
    first = broker_files.password_text({"a": "one", "b": "two"})

    assert broker_files.password_text({"b": "two", "a": "one"}, first) == first

    second = broker_files.password_text({"a": "one", "b": "changed"}, first)
    assert second.splitlines()[0] == first.splitlines()[0]
    assert second.splitlines()[1] != first.splitlines()[1]
    assert secrets.is_mosquitto_password(second.splitlines()[1], "changed")


def test_a_prefix_of_several_levels_is_the_start_of_every_rule() -> None:
    """And one outside the grammar is refused."""
    lines = broker_files.acl_text("site/a").splitlines()
    assert all(" site/a/" in line or "$SYS" in line for line in lines if line.startswith(("topic", "pattern")))
    with pytest.raises(topics.TopicError):
        broker_files.acl_text("a/#")


def test_the_files_in_mosquitto_are_the_generated_ones() -> None:
    """Stale: run `python -m pinloop.broker_files`."""
    for path, text in broker_files.stack_files().items():
        assert path.read_text(encoding="utf-8") == text


def test_every_account_that_setup_makes_can_sign_in_and_the_health_check_passes(tmp_path: Path) -> None:
    """The stack's own files and the very command of its health check, on another port."""
    program = need("mosquitto_sub", "apt-get install mosquitto-clients")
    made = Secrets(tmp_path / "secrets")
    with made.locked():
        made.prepare()
    folder = made.folder / "mosquitto"
    with running_broker(
        tmp_path / "broker", f"allow_anonymous false\npassword_file {folder}/passwd\nacl_file {folder}/acl"
    ) as broker:
        for user in (*broker_files.SERVICE_USERS, *DEMO_DEVICES):
            name = f"mqtt_{user.removeprefix('svc.')}" if user in broker_files.SERVICE_USERS else f"devices/{user}"
            password = (made.owner / name).read_text().strip()
            with Client(broker, user=user, password=password) as client:
                assert not client.refused

        compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text(encoding="utf-8"))
        command = compose["services"]["mosquitto"]["healthcheck"]["test"][1]
        for old, new in (
            ("mosquitto_sub", f"{program} -p {broker.port}"),
            ("/secrets", str(made.folder)),
            ("$$", "$"),
            ("-W 3", "-W 15"),  # a broker that has just started says its uptime after 10 s
        ):
            command = command.replace(old, new)
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, "seconds" in done.stdout) == (0, True), done
