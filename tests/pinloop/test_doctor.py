"""`pinloop doctor` on a real loop: silent when all is well, and right about each thing that is broken on purpose."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from firmware.sim.engine import find
from pinloop.doctor.ask import ask
from pinloop.doctor.findings import as_object
from pinloop.doctor.run import examine
from pinloop.doctor.target import local_target
from pinloop.local.layout import Layout, Ports
from pinloop.local.run import Loop, running_loop
from tests.support.ports import free_port
from tests.support.processes import ROOT, Child
from tests.support.requirements import need
from tests.support.wait import until

PARTS = ("listener", "rules", "webhook", "hub")


def doctor(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the doctor as people do."""
    return subprocess.run(
        [sys.executable, "-m", "pinloop", "doctor", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(env or {})},
    )  # fmt: skip


@dataclass
class Patient:
    """A loop that is examined, broken and mended."""

    layout: Layout
    ports: Ports
    loop: Loop

    def findings(self) -> dict[str, dict[str, str]]:
        """Return what the doctor finds, by check; without the start of a program."""
        found = as_object("local", list(examine(local_target(self.layout.data))))
        assert found["ok"] == all(one["level"] != "broken" for one in found["findings"])
        return {one["check"]: one for one in found["findings"]}

    def examine(self, *words: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, dict[str, str]]]:
        """Run the doctor; return its exit code and finding by check."""
        done = doctor("--json", *(words or ("--data-dir", self.layout.data)), env=env)
        said = json.loads(done.stdout)
        assert said["ok"] == (done.returncode == 0)
        assert sum(said["counts"].values()) == len(said["findings"])
        return done.returncode, {one["check"]: one for one in said["findings"]}

    def broken(self, check: str, saw: str, do: str) -> dict[str, dict[str, str]]:
        """Examine; check that `check` is broken, what was seen and what to do, and return all that is broken."""
        findings = self.findings()
        assert findings[check]["level"] == "broken", findings[check]
        assert saw in findings[check]["saw"]
        assert do in findings[check]["do"]
        return {name: one for name, one in findings.items() if one["level"] == "broken"}

    def runner(self, name: str) -> Any:
        return next(one for one in self.loop.supervisor.runners if one.part.name == name)

    def kill(self, name: str) -> None:
        """Kill a part and all that it started; nobody starts it again before `mend`."""
        process = self.runner(name).process
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)

    def mend(self) -> None:
        """Let the supervisor start what is dead, until the doctor would be content."""
        until(self._whole, 40, "the loop is whole again", every_s=0.05)

    def _whole(self) -> bool:
        self.loop.tend()
        devices = {one["device"]: one for one in self.hub("/api/devices")["devices"]}
        return (
            all(self._ready(part) for part in PARTS)
            and {name: one["status"] for name, one in devices.items()} == {"pot": "online", "lights": "online"}
            and not any(pin["drift_s"] for pin in self.hub("/api/pins")["pins"])
            and bool(devices["pot"]["readings"])
        )

    def _ready(self, part: str) -> bool:
        with urllib.request.urlopen(self.runner(part).part.ready_url, timeout=1) as answer:
            return bool(answer.status == 200)

    def hub(self, path: str) -> Any:
        password = self.layout.password("console").read_text().strip()
        answer = ask(f"http://127.0.0.1:{self.ports.hub}{path}", basic=("owner", password))
        assert answer.status == 200, answer
        return answer.json()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    need("mosquitto", "apt-get install mosquitto")
    folder = tmp_path_factory.mktemp("doctor")
    layout = Layout(folder / "data", folder / "rules.yml")
    shutil.copy(ROOT / "rules" / "sample.yml", layout.rules)
    ports = Ports(*(free_port() for _ in range(5)))
    with running_loop(layout, ports) as loop:
        yield Patient(layout, ports, loop)


@pytest.fixture
def patient(shared: Patient) -> Iterator[Patient]:
    """A loop in which everything works; what a test breaks is mended after it."""
    shared.mend()
    yield shared
    for runner in shared.loop.supervisor.runners:
        if runner.alive:
            os.kill(runner.process.pid, signal.SIGCONT)


@pytest.mark.loop
def test_a_healthy_loop_has_nothing_broken(patient: Patient) -> None:
    """Exit 0, and every part of it was asked."""
    code, findings = patient.examine()
    assert [one for one in findings.values() if one["level"] == "broken"] == []
    assert code == 0
    expected = {
        "instance", "secrets", "broker", "broker strangers", "broker rights", "broker round trip", "broker database",
        "listener", "rules", "webhook", "hub", "clocks", "versions", "store", "claims database", "rules state",
        "rules file", "devices' files",
        "webhook user operator", "webhook user alerts", "webhook signature", "webhook strangers", "console password",
        "devices", "pins", "one of each", "disk", "programs", "micropython",
    }  # fmt: skip
    assert expected <= findings.keys()
    assert findings["micropython"]["level"] == ("ok" if find().name == "micropython" else "warning")
    assert "2 online (lights, pot)" in findings["devices"]["saw"]


@pytest.mark.loop
def test_many_wrong_passwords_before_are_no_finding(patient: Patient) -> None:
    """The webhook refuses them without a look (429) by then; the right ones still get in."""
    url = f"http://127.0.0.1:{patient.ports.webhook}/claims"
    until(lambda: ask(url, basic=("operator", "wrong")).status == 429)

    findings = patient.findings()
    assert {findings[f"webhook {who}"]["level"] for who in ("strangers", "user operator", "user alerts")} == {"ok"}
    patient.kill("webhook")  # it forgets them: other tests want it to look at what is wrong


@pytest.mark.loop
def test_it_leaves_nothing_behind(patient: Patient) -> None:
    """No device of its own anywhere, no table, no message that was refused."""
    before = metrics(patient, "refused", 'rejected_total{reason="topic', "names_ignored")
    patient.examine()
    assert {one["device"] for one in patient.hub("/api/devices")["devices"]} == {"pot", "lights"}
    assert {pin["device"] for pin in patient.hub("/api/pins")["pins"]} == {"lights"}
    assert metrics(patient, "refused", 'rejected_total{reason="topic', "names_ignored") == before
    assert b"pinloop_doctor" not in patient.layout.store.read_bytes()
    assert b"pinloop-doctor" not in patient.layout.store.read_bytes()


def metrics(patient: Patient, *words: str) -> list[str]:
    """Return the lines of every service's metrics that hold one of `words`."""
    found = []
    for part in PARTS:
        url = patient.runner(part).part.ready_url.replace("readyz", "metrics")
        with urllib.request.urlopen(url, timeout=2) as answer:
            lines = answer.read().decode().splitlines()
        found += [line for line in lines if any(word in line for word in words) and "created" not in line]
    return found


@pytest.mark.loop
def test_people_get_lines_and_a_summary(patient: Patient) -> None:
    """Each level stands in front; what to do is below."""
    done = doctor("--data-dir", patient.layout.data)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert lines[0].startswith("ok       instance")
    assert lines[-1].endswith("0 broken")
    assert done.stderr == ""


@pytest.mark.loop
def test_a_killed_broker_is_found(patient: Patient) -> None:
    """The services say so too."""
    patient.kill("broker")
    broken = patient.broken("broker", "does not answer (connection refused)", "broker.log")
    assert {"listener", "rules", "webhook", "hub"} <= broken.keys()
    assert "Look at the findings on the broker" in broken["listener"]["do"]


@pytest.mark.loop
def test_a_killed_listener_is_found(patient: Patient) -> None:
    """And nothing else is blamed."""
    patient.kill("listener")
    assert patient.broken("listener", "does not answer (connection refused)", "listener.log").keys() == {"listener"}


@pytest.mark.loop
@pytest.mark.long
def test_a_listener_that_hangs_is_found(patient: Patient) -> None:
    """It accepts connections and says nothing."""
    os.kill(patient.runner("listener").process.pid, signal.SIGSTOP)
    assert "listener" in patient.broken("listener", "says nothing within 4 s", "listener.log")


@pytest.mark.loop
@pytest.mark.parametrize(
    ("user", "check", "saw"),
    [
        ("operator", "webhook user operator", "`operator` is refused"),
        ("alerts", "webhook user alerts", "`alerts` is refused"),
        ("console", "console password", "refuses the password of the secrets folder"),
        ("svc.rules", "broker", "does not let svc.rules in"),
        ("pinloop-doctor", "broker", "does not let pinloop-doctor in"),
    ],
)
def test_a_wrong_password_in_the_secrets_is_found(patient: Patient, user: str, check: str, saw: str) -> None:
    """The one that is wrong is named."""
    path = patient.layout.password(user)
    right = path.read_text()
    path.write_text("wrong\n")
    try:
        assert patient.broken(check, saw, "put").keys() == {check}
    finally:
        path.write_text(right)


@pytest.mark.loop
def test_a_wrong_key_in_the_secrets_is_found(patient: Patient) -> None:
    """The password alone would be let in by default, but whoever signs must sign right."""
    right = patient.layout.hmac_key.read_text()
    patient.layout.hmac_key.write_text("another-key-of-this-length\n")
    try:
        assert patient.broken("webhook signature", "is not the signature", "put").keys() == {"webhook signature"}
    finally:
        patient.layout.hmac_key.write_text(right)


@pytest.mark.loop
def test_a_secret_that_is_gone_is_found(patient: Patient) -> None:
    """Its file is named."""
    path = patient.layout.password("operator")
    right = path.read_text()
    path.unlink()
    try:
        patient.broken("secrets", "operator.password", "made anew")
    finally:
        path.write_text(right)
        path.chmod(0o600)


@pytest.mark.loop
def test_a_store_that_was_replaced_is_found(patient: Patient) -> None:
    """By looking at the file, and by what the listener says of it."""
    store = patient.layout.store
    aside = patient.layout.data / "aside"
    aside.mkdir()
    for path in store.parent.glob("store.db*"):  # with its log, from which SQLite would mend it
        path.rename(aside / path.name)
    store.write_text("this is no database " * 1000)
    try:
        problem = patient.runner("listener").part.ready_url
        until(lambda: "store" in unready(problem), 15, "the listener has noticed")
        broken = patient.broken("store", "is damaged or not ours (file is not a database)", "pinloop restore")
        assert "store:" in broken["listener"]["saw"]
        assert "holds the readings until it is back" in broken["listener"]["do"]
    finally:
        for path in store.parent.glob("store.db*"):
            path.unlink()
        for path in aside.iterdir():
            path.rename(store.parent / path.name)
        aside.rmdir()


def unready(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.loop
def test_a_dead_device_is_found(patient: Patient) -> None:
    """Its name is told."""
    patient.kill("device pot")
    until(
        lambda: {one["device"]: one["status"] for one in patient.hub("/api/devices")["devices"]}["pot"] == "offline",
        10,
        "the hub knows",
    )
    assert patient.broken("devices away", "Offline: pot (", "power").keys() == {"devices away"}


@pytest.mark.loop
def test_a_bad_rules_file_is_found(patient: Patient) -> None:
    """With the mistake, and that the rules of before hold."""
    right = patient.layout.rules.read_text()
    patient.layout.rules.write_text("version: 1\nrules:\n  - name: broken\n    when: pot ? 80\n")
    try:
        until(lambda: "rules" in unready(patient.runner("rules").part.ready_url), 10, "the service has noticed")
        broken = patient.broken("rules file", "rules.yml", "`pinloop rules check`")
        assert broken.keys() == {"rules file", "rules"}
        assert "the rules of before hold" in broken["rules"]["do"]
    finally:
        patient.layout.rules.write_text(right)


@pytest.mark.loop
@pytest.mark.long
def test_a_second_instance_of_a_service_is_found(patient: Patient, spawn: Callable[..., Child], tmp_path: Path) -> None:
    """Two with one name throw one another off the broker."""
    spawn(
        ["python", "-m", "rules"],
        env={
            "PINLOOP_MQTT_PORT": str(patient.ports.mqtt),
            "PINLOOP_MQTT_USER": "svc.rules",
            "PINLOOP_MQTT_PASSWORD_FILE": str(patient.layout.password("svc.rules")),
            "PINLOOP_RULES_HTTP_PORT": "0",
            "PINLOOP_RULES_RULES_PATH": str(patient.layout.rules),
            "PINLOOP_RULES_STATE_PATH": str(tmp_path / "rules.db"),
        },
    )
    before = connects(patient)
    until(lambda: connects(patient) > before + 2, 15, "they fight")
    patient.broken("one of each", "Connected anew to the broker while it was watched: rules (", "stop the other")


def connects(patient: Patient) -> float:
    """Return how often the services have connected to the broker, all together."""
    return sum(float(line.split()[1]) for line in metrics(patient, "mqtt_connects_total ") if line[0] != "#")


@pytest.mark.loop
def test_the_stack_is_asked_by_variables_and_its_secrets_folder(patient: Patient, tmp_path: Path) -> None:
    """The same questions: here of this loop, with the stack's names for its secrets, and no InfluxDB."""
    owner = tmp_path / "secrets" / "owner"
    (owner / "devices").mkdir(parents=True)
    names = {
        **{f"mqtt_{part}": f"svc.{part}" for part in PARTS},
        "devices/pinloop-doctor": "pinloop-doctor",
        "console_password": "console",
        "operator_password": "operator",
        "alert_password": "alerts",
    }
    for name, ours in names.items():
        shutil.copy(patient.layout.password(ours), owner / name)
    shutil.copy(patient.layout.hmac_key, owner / "hmac_key")
    for name in ("store_read_token", "store_write_token", "grafana_password"):
        (owner / name).write_text("a-token\n")
    env = {
        "PINLOOP_DOCTOR_SECRETS_PATH": str(tmp_path / "secrets"),
        "PINLOOP_DOCTOR_BROKER_PATH": str(patient.layout.broker),
        "PINLOOP_MQTT_HOST": "127.0.0.1",
        "PINLOOP_MQTT_PORT": str(patient.ports.mqtt),
        "PINLOOP_DOCTOR_STORE_URL": f"http://127.0.0.1:{free_port()}",
        "PINLOOP_DOCTOR_GRAFANA_URL": "",
        **{f"PINLOOP_DOCTOR_{part}_URL".upper(): f"http://127.0.0.1:{getattr(patient.ports, part)}" for part in PARTS},
    }
    code, findings = patient.examine("--stack", env=env)
    assert code == 1
    assert {name for name, one in findings.items() if one["level"] == "broken"} == {"store"}
    assert "docker compose" in findings["store"]["do"]
    assert findings["broker rights"]["level"] == findings["rules file"]["level"] == "ok"
    assert "instance" not in findings


def test_without_an_instance_it_says_how_to_start_one(tmp_path: Path) -> None:
    """And still looks at the machine."""
    done = doctor("--data-dir", tmp_path)
    assert done.returncode == 1
    assert "BROKEN   instance" in done.stdout
    assert "-> Start it: `pinloop up`." in done.stdout
    assert "micropython" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_description_that_a_dead_instance_left_is_told(tmp_path: Path) -> None:
    """running.json outlives a SIGKILL; nobody holds the lock then."""
    facts = {"pid": 1, "services": {}, "mqtt": {"host": "127.0.0.1", "port": free_port()}}
    (tmp_path / "running.json").write_text(json.dumps(facts))
    done = doctor("--data-dir", tmp_path)
    assert done.returncode == 1
    assert "describes an instance that has died" in done.stdout


def test_the_stack_without_its_secrets_is_one_clear_line(tmp_path: Path) -> None:
    """With the command that runs it in the right place."""
    done = doctor("--stack", env={"PINLOOP_DOCTOR_SECRETS_PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "docker compose run --rm" in done.stderr
