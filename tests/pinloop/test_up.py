"""`pinloop up` as a process: it comes up, is honest about trouble, and leaves nothing behind."""

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pinloop.local.screen import _DOING
from tests.support.ports import free_port
from tests.support.processes import Child, descendants, owned
from tests.support.requirements import need
from tests.support.wait import until

PARTS = ("broker", "webhook", "listener", "rules", "hub", "device pot", "device lights")


def options_in(folder: Path) -> list[str]:
    """Return options for a `pinloop up` with ports of its own."""
    need("mosquitto", "apt-get install mosquitto")
    names = ("mqtt", "hub", "webhook", "listener", "rules")
    ports = [word for name in names for word in (f"--{name}-port", str(free_port()))]
    return ["--data-dir", str(folder / "data"), *ports]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Return options for this test alone."""
    return options_in(tmp_path)


def whole(child: Child) -> Child:
    """Wait until every part is ready."""
    until(lambda: all(said(child, part) for part in PARTS), 30, f"every part is up:\n{child.text()}")
    return child


@pytest.fixture
def up(spawn: Callable[..., Child], options: list[str]) -> Child:
    """A running `pinloop up` with every part ready, which the test may end."""
    return whole(spawn(["python", "-m", "pinloop", "up", *options], name="up"))


@dataclass
class Running:
    """A `pinloop up` that goes on."""

    child: Child
    folder: Path
    options: list[str]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for the tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("up")
    options = options_in(folder)
    with owned(["python", "-m", "pinloop", "up", *options], folder / "up.out") as child:
        yield Running(whole(child), folder, options)


def said(child: Child, part: str) -> bool:
    """Tell whether a part was reported ready, or running where that is all there is."""
    return f"{part}: ready" in child.text() or (f"{part}: running" in child.text())


def facts(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "data" / "running.json").read_text())


def test_every_part_comes_up_and_an_interrupt_stops_them_all(up: Child, tmp_path: Path):
    """Ctrl-C: exit 0, nothing left, and the way back is told."""
    started = descendants(up.pid)
    assert len(started) >= len(PARTS) + 2  # the boards and their devices
    up.send_signal(signal.SIGINT)
    assert up.wait(20) == 0
    assert "Stopped. The data is in" in up.text()
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert not (tmp_path / "data" / "running.json").exists()


def test_the_screen_tells_address_and_password_of_the_console(shared: Running):
    """What it prints is what lets one in."""
    path = shared.folder / "data" / "secrets" / "console.password"
    assert f"{facts(shared.folder)['hub_url']}/   password: {path.read_text().strip()}" in shared.child.text()
    assert path.stat().st_mode & 0o077 == 0


def test_what_the_screen_counts_is_what_the_services_measure(shared: Running):
    """Each metric that the table shows exists under that name."""
    for part, shown in _DOING.items():
        port = shared.options[shared.options.index(f"--{part}-port") + 1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
        for metric, *_ in shown:
            assert f"# TYPE {metric} " in metrics, f"{part} has no {metric}"


@pytest.mark.long
@pytest.mark.parametrize("alert_auth", ["hmac", "both"])
def test_rules_get_in_where_senders_must_sign(
    spawn: Callable[..., Child], options: list[str], tmp_path: Path, alert_auth: str
):
    """Nobody has to do more than to ask for it: `up` makes the key and hands it to both."""
    rules = tmp_path / "rules.yml"
    rules.write_text("version: 1\nrules:\n  - name: always\n    when: pot >= 0\n    then: [lights/red = 1]\n")
    env = {"PINLOOP_WEBHOOK_ALERT_AUTH": alert_auth}
    spawn(["python", "-m", "pinloop", "up", *options, "--rules", str(rules)], name="up", env=env)
    metrics = f"http://127.0.0.1:{options[options.index('--rules-port') + 1]}/metrics"

    def delivered() -> bool:
        try:
            with urllib.request.urlopen(metrics, timeout=5) as answer:
                return 'rules_notifications_total{outcome="delivered"} 1' in answer.read().decode()
        except OSError:
            return False

    until(delivered, 30, "the webhook took the alert")


def test_a_second_start_keeps_the_readings_and_the_passwords(
    up: Child, spawn: Callable[..., Child], options: list[str], tmp_path: Path
):
    """The data folder is all there is to keep."""
    store = tmp_path / "data" / "store.db"
    until(lambda: store.exists() and store.stat().st_size > 0, 10, "the store")
    password = (tmp_path / "data" / "secrets" / "console.password").read_text()
    up.send_signal(signal.SIGTERM)
    assert up.wait(20) == 0
    whole(spawn(["python", "-m", "pinloop", "up", *options], name="again"))
    assert (tmp_path / "data" / "secrets" / "console.password").read_text() == password


def test_a_second_instance_is_one_clear_line_and_exit_1(shared: Running, spawn: Callable[..., Child]):
    """It names the folder and what to do, and does not disturb the first."""
    second = spawn(["python", "-m", "pinloop", "up", *shared.options], name="second")
    assert second.wait(20) == 1
    assert "pinloop already runs on" in second.text()
    assert "Traceback" not in second.text()
    assert shared.child.poll() is None


def test_a_killed_service_is_started_again_and_the_loop_goes_on(shared: Running):
    """The listener dies; it is reported, back, and stores again."""
    up = shared.child
    ready = up.text().count("listener: ready")
    listener = next(pid for pid in descendants(up.pid) if command(pid).endswith("-m listener"))
    os.kill(listener, signal.SIGKILL)
    until(lambda: "listener: started again (restart 1)" in up.text(), 10, "the restart is told")
    assert "listener: killed by signal 9" in up.text()
    until(lambda: up.text().count("listener: ready") > ready, 15, "the listener is ready again")


def test_a_taken_port_is_one_clear_line_and_exit_1(spawn: Callable[..., Child], options: list[str]):
    """Nothing was started by then."""
    port = int(options[options.index("--hub-port") + 1])
    with socket.create_server(("127.0.0.1", port)):
        child = spawn(["python", "-m", "pinloop", "up", *options])
        assert child.wait(20) == 1
    assert child.text().startswith(f"Error: port {port} is taken by another program")
    assert "--hub-port" in child.text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rules", "nowhere.yml"], "--rules: there is no file 'nowhere.yml'"),
        (["--device", "Not An Id"], "--device: 'Not An Id' is not a device id"),
    ],
)
def test_a_wrong_option_is_one_clear_line_and_exit_1(
    spawn: Callable[..., Child], options: list[str], words: list[str], message: str
):
    """The message names the option, the value and the rule."""
    child = spawn(["python", "-m", "pinloop", "up", *options, *words])
    assert child.wait(20) == 1
    assert message in child.text()
    assert "Traceback" not in child.text()


def test_a_board_of_ones_own_gets_its_credentials(spawn: Callable[..., Child], options: list[str], tmp_path: Path):
    """--device makes a broker user, prints it, and the broker knows it."""
    child = spawn(["python", "-m", "pinloop", "up", *options, "--no-virtual", "--device", "greenhouse"])
    until(lambda: "broker: running" in child.text(), 15, "the broker")
    password = (tmp_path / "data" / "secrets" / "greenhouse.password").read_text().strip()
    assert f"user: greenhouse   password: {password}" in child.text()
    assert "greenhouse:$7$" in (tmp_path / "data" / "broker" / "passwd").read_text()


def command(pid: int) -> str:
    """Return a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
