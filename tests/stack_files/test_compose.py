"""docker-compose.yml and what belongs to it: safe, complete, and in agreement with the parts that it starts."""

import importlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from pinloop.setup import DEMO_DEVICES, SECRETS, UIDS, Secrets
from service.settings import MqttSettings, declared
from tests.support.requirements import missing

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
STACK: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
ONE_SHOTS = {"setup", "store-setup"}
# Secrets of what stands outside of the stack, or in the place of another secret.
NOT_OF_THE_STACK = {"grafana_password", "alertmanager_password", "second_store_tokens", "datadog_api_key"}
OWN = ("listener", "rules", "webhook", "hub")
IMAGES = {"eclipse-mosquitto:2.1.2-alpine", "influxdb:2.9.1-alpine", "grafana/grafana:13.1.2"}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def default(text: str) -> str:
    """Return text with each ${NAME:-default} replaced by its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(name: str) -> dict[str, tuple[str, bool]]:
    """Return source -> (target, whether it is read-only) of a service's volumes."""
    found = {}
    for volume in SERVICES[name].get("volumes", []):
        if isinstance(volume, dict):
            assert volume["bind"] == {"create_host_path": False}, "Docker would make a folder where a file is missing"
            found[default(volume["source"])] = (volume["target"], volume["read_only"])
        else:
            source, target, *rest = default(volume).split(":")
            found[source] = (target, rest == ["ro"])
    return found


def holder_of(name: str) -> str:
    """Return the name under which setup knows a service of the compose file."""
    return "devices" if name.startswith("demo-") else name


@every_service
def test_every_container_is_hardened(name: str) -> None:
    """No root, nothing to write but its volumes, no way to more rights, bounded memory, processes and logs."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert not {"privileged", "pid", "ipc", "devices", "cap_add", "network_mode"} & set(service) or name in ONE_SHOTS
    if name in ONE_SHOTS:
        # Root without its powers: it may give files away and read what it gave.
        assert (service["user"], service["cap_add"]) == ("0:0", ["CHOWN", "DAC_OVERRIDE"])
        assert service["restart"] == "no"
    else:
        assert service["user"].partition(":")[0] == str(UIDS[holder_of(name)])
        assert service["restart"] == "unless-stopped"


@every_service
def test_every_container_that_stays_is_asked_how_it_is(name: str) -> None:
    """A one-shot answers with its exit code."""
    assert ("healthcheck" in SERVICES[name]) == (name not in ONE_SHOTS)


@pytest.mark.parametrize("name", OWN)
def test_a_services_health_check_asks_the_port_that_it_listens_on(name: str) -> None:
    """Ready, not only alive: the others wait for it."""
    port = SERVICES[name]["environment"]["PINLOOP_HTTP_PORT"]

    assert SERVICES[name]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{port}/readyz"


@every_service
def test_every_image_is_pinned_and_can_be_replaced(name: str) -> None:
    """A tag that moves would be another program tomorrow."""
    image = SERVICES[name]["image"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {f"pinloop:{project['version']}", f"pinloop-devices:{project['version']}"}

    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[^}]+\}", image)
    assert default(image) in IMAGES | own
    assert ("build" in SERVICES[name]) == (default(image) in own)


def test_only_the_broker_is_on_the_network() -> None:
    """Every other port is published on the loopback unless .env says otherwise."""
    ports = {name: [default(port) for port in one.get("ports", [])] for name, one in SERVICES.items()}

    assert ports.pop("mosquitto") == ["0.0.0.0:1883:1883", "127.0.0.1:8883:8883"]
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)


@every_service
def test_a_container_starts_after_what_it_needs(name: str) -> None:
    """A one-shot must have ended well, a server must be healthy."""
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
        assert condition == {"condition": wanted}


@every_service
def test_every_volume_exists_and_only_setup_writes_secrets(name: str) -> None:
    """Files of the repository are read-only as well."""
    for source, (_, read_only) in mounts(name).items():
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert read_only
        else:
            assert source in STACK["volumes"]
            assert read_only == (source == "secrets" and name not in ONE_SHOTS)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that setup makes."""
    made = Secrets(tmp_path_factory.mktemp("stack") / "secrets")
    with made.locked():
        made.prepare()
    return made.folder


def named_secrets() -> list[tuple[str, str]]:
    """Return (who reads it, path below /secrets) of every secret that the stack's files name."""
    found = [
        (name, path)
        for name, service in SERVICES.items()
        if not name.startswith("demo-")
        for path in re.findall(r"/secrets/([\w/]+)", yaml.safe_dump(service))
    ]
    found += [("mosquitto", path) for path in re.findall(r"/secrets/([\w/]+)", read("mosquitto/mosquitto.conf"))]
    for file in (ROOT / "grafana" / "provisioning").rglob("*.yaml"):
        found += [("grafana", path) for path in re.findall(r"/secrets/([\w/]+)", file.read_text(encoding="utf-8"))]
    return found


def read(path: str) -> str:
    """Return a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_secret_that_is_named_is_made_for_who_reads_it(secrets: Path) -> None:
    """The folder of another service cannot be read."""
    by_influxdb = {"listener/store_write_token", "hub/store_read_token", "grafana/store_read_token"}

    for reader, path in named_secrets():
        assert path.startswith(f"{reader}/")
        assert path in by_influxdb or (secrets / path).is_file(), path


def test_every_secret_that_a_service_gets_is_named_by_it() -> None:
    """Nobody holds what they do not need."""
    named = {path for _, path in named_secrets()}
    unused = {f"{holder}/{secret.name}" for secret in SECRETS for holder in secret.holders} - named

    assert unused == set()


def test_the_virtual_devices_have_accounts_and_profiles() -> None:
    """Each is called like its profile and its user."""
    demo = {name.removeprefix("demo-") for name in SERVICES if name.startswith("demo-")}

    assert demo == set(DEMO_DEVICES)
    assert all((ROOT / "firmware" / "profiles" / f"{name}.json").exists() for name in demo)


@pytest.mark.parametrize("name", OWN)
def test_every_variable_of_a_service_is_one_of_its_settings(name: str) -> None:
    """A misspelt one would be ignored without a word."""
    settings = importlib.import_module(f"{name}.settings").Settings
    known = {variable for one in declared(settings) for variable in one.variables(name)}
    given = {variable.removesuffix("_FILE") for variable in SERVICES[name]["environment"]}

    assert given <= known
    secret = {one.name for one in declared(settings) if one.secret}
    assert {f"PINLOOP_{word}_FILE".upper() for word in secret - NOT_OF_THE_STACK} <= set(SERVICES[name]["environment"])


@pytest.mark.parametrize("security", ["plain", "tls"])
def test_the_services_reach_a_listener_of_the_broker_either_way(secrets: Path, security: str) -> None:
    """One word in .env changes port and trust together; every service can read the authority's certificate."""
    given = dict(line.split("=", 1) for line in read(f"mosquitto/{security}.env").splitlines() if line[:1] != "#")
    known = {variable for one in declared(MqttSettings) for variable in one.variables("any")}

    assert set(given) <= known
    assert f"listener {given['PINLOOP_MQTT_PORT']}" in read("mosquitto/mosquitto.conf").splitlines()
    for name in (*OWN, "demo-pot", "demo-lights"):
        assert default(SERVICES[name]["env_file"][0]) == "./mosquitto/plain.env"
        assert not set(given) & set(SERVICES[name]["environment"]), "environment would win over env_file"
    if security == "tls":
        certificate = secrets / PurePosixPath(given["PINLOOP_MQTT_CA_PATH"]).relative_to("/secrets")
        assert certificate.stat().st_mode & 0o777 == 0o444
        assert certificate.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", OWN)
def test_a_service_writes_only_in_its_volume(name: str) -> None:
    """Paths of settings are relative to the working folder or absolute."""
    settings = importlib.import_module(f"{name}.settings").Settings
    home = SERVICES[name]["working_dir"]

    assert mounts(name)[f"{name}-data"] == (home, False)
    assert f"-o {UIDS[name]} -g {UIDS[name]} {home}" in read("Dockerfile")
    for one in declared(settings):
        if one.kind is Path and one.default != Path():
            value = SERVICES[name]["environment"].get(f"PINLOOP_{one.name.upper()}", one.default)
            path = Path(home) / value
            assert path.is_relative_to(home) or path.is_relative_to("/etc/pinloop")


def test_every_variable_is_explained_with_its_default() -> None:
    """.env.example says the value that the compose file falls back to, and no other variable."""
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    explained = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE))

    assert len(re.findall(r"(?<!\$)\$\{", TEXT)) == len(re.findall(r"\$\{(\w+):-", TEXT)), "a variable has no default"
    assert explained == used


def test_the_image_holds_every_package_and_builds_on_old_engines() -> None:
    """No syntax that needs a registry or BuildKit."""
    packages = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    kept = {line.removeprefix("!") for line in read(".dockerignore").splitlines() if line.startswith("!")}
    dockerfile = read("Dockerfile")

    assert {*packages, "pyproject.toml", "README.md", "LICENSE"} == kept
    assert not re.search(r"^# *syntax=|<<|--link|--mount", dockerfile, re.MULTILINE)
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == ["10001:10001", "0:0", "10005:10005"]
    assert "start_interval" not in TEXT


def test_compose_itself_accepts_the_file() -> None:
    """`docker compose config`, with and without the virtual devices."""
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        missing("docker compose is not installed: bash tests/stack/install.sh")
    for profile in ([], ["--profile", "demo"]):
        command = [docker, "compose", "-f", ROOT / "docker-compose.yml", *profile, "config", "-q"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
