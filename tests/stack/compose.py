"""The stack under test: docker-compose.yml as it is, one override, ports of its own; and what is done to it."""

import base64
import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.wait import until

__all__ = ["HERE", "ROOT", "Stack"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_FILES = [ROOT / "docker-compose.yml", HERE / "compose.ci.yml"]
_PORTS = (
    "MQTT_PORT",
    "MQTT_TLS_PORT",
    "CONSOLE_PORT",
    "WEBHOOK_PORT",
    "LISTENER_PORT",
    "CONSOLE_TLS_PORT",
    "WEBHOOK_TLS_PORT",
    "LISTENER_TLS_PORT",
    "INFLUXDB_PORT",
    "ALERTMANAGER_PORT",
    "GRAFANA_PORT",
)


class Stack:
    """A compose project of the tests' own.

    Args:
        project: its name; everything that Docker makes for it carries it.
        images: the file that images.sh wrote.
    """

    host = "127.0.0.1"

    def __init__(self, project: str, images: Path) -> None:
        self.project = project
        self.images = _variables(images)
        self.ports = {name: free_port() for name in _PORTS}
        # As variables, so that what calls `docker compose` by itself (make, scripts) means this stack, too.
        self.environment = {
            **_variables(HERE / "ci.env"),
            **self.images,
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_FILE": os.pathsep.join(map(str, _FILES)),
            "COMPOSE_DISABLE_ENV_FILE": "1",
        }
        self._ids: dict[str, str] = {}
        self._secrets: dict[str, str] = {}

    @property
    def port(self) -> int:
        """The broker's port."""
        return self.ports["MQTT_PORT"]

    # What an operator does.

    def compose(self, *words: str, timeout_s: float = 120) -> str:
        """Run `docker compose WORDS` and return what it prints; its errors are in the AssertionError."""
        return self._run(["docker", "compose", *words], timeout_s)

    def make(self, *words: str, timeout_s: float = 60, **variables: str) -> str:
        """Run `make WORDS` and return what it prints."""
        return self._run(["make", "--silent", *words], timeout_s, variables)

    def docker(self, *words: str, timeout_s: float = 60) -> str:
        """Run `docker WORDS` and return what it prints."""
        return self._run(["docker", *words], timeout_s)

    def save_logs(self, path: Path) -> None:
        """Write what every container has logged to a file."""
        path.write_text(self.compose("logs", "--no-color", "--timestamps"))

    def secret(self, name: str) -> str:
        """Return a secret as `docker compose run --rm setup show` prints it."""
        if not self._secrets:
            shown = self.compose("run", "--rm", "setup", "show")
            self._secrets = {line.split()[0]: line.split()[1] for line in shown.splitlines() if line.strip()}
        return self._secrets[name]

    def forget(self) -> None:
        """Ask again for secrets and containers, which may be others now."""
        self._secrets.clear()
        self._ids.clear()

    def add_device(self, name: str) -> str:
        """Make a broker account as docs/stack.md says and return its password."""
        shown = self.compose("run", "--rm", "setup", "device", name)
        self.compose("exec", "-T", "mosquitto", "sh", "-c", "kill -HUP 1")
        return next(line.split()[1] for line in shown.splitlines() if line.startswith(f"{name} "))

    def switch(self, **variables: str) -> None:
        """Change variables as in `.env`, and run `up` again, which replaces the containers that they concern."""
        self.environment.update(variables)
        words = ("up", "--detach", "--wait", "--wait-timeout", "90")
        # It ends at once when somebody is unhealthy just then: whoever misses what is replaced, on a busy machine.
        until(lambda: self.compose(*words) is not None, 90, "everything is healthy", every_s=0.5)
        self.forget()

    # What happens to containers.

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        if service not in self._ids:
            self._ids[service] = self.compose("ps", "--all", "--quiet", service).strip()
        return self._ids[service]

    def inspect(self, service: str) -> dict[str, Any]:
        """Return `docker inspect` of a service's container."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", self.container(service)))
        return found[0]

    def kill(self, *services: str) -> None:
        """SIGKILL the first processes of containers, all with one command, as a crash: Docker starts them again.

        `docker kill` would count as a stop by hand. The helper sees the host's processes, so this needs no root here.
        """
        pids = [str(self.inspect(service)["State"]["Pid"]) for service in services]
        assert "0" not in pids
        self._help("--pid", "host", line=f"kill -9 {' '.join(pids)}")

    def wipe(self, volume: str) -> None:
        """Delete everything in a volume."""
        self._help("--volume", f"{self.project}_{volume}:/volume", line="rm -rf /volume/*")

    def pause(self, service: str) -> None:
        """Freeze every process of a container; a busy machine's engine sometimes has to be asked twice."""
        until(lambda: self.docker("pause", self.container(service)), 10, f"{service} is frozen", every_s=0.2)

    def unpause(self, service: str) -> None:
        """Let a frozen container go on."""
        self.docker("unpause", self.container(service))

    def broker_saved_at_s(self) -> int:
        """Return when the broker last wrote its memory to disk, seconds since 1970."""
        return int(self.execute("mosquitto", "stat", "-c", "%Y", "/mosquitto/data/mosquitto.db"))

    def restarts(self, service: str) -> int:
        """Return how often Docker has started a container again by itself."""
        return int(self.inspect(service)["RestartCount"])

    def healthy(self, service: str) -> bool:
        """Tell whether a container's health check is content."""
        return bool(self.inspect(service)["State"]["Health"]["Status"] == "healthy")

    def ready(self, service: str, http_port: int) -> bool:
        """Ask a service of ours, inside its container, whether it is ready."""
        words = ["python", "-m", "service.probe", f"http://127.0.0.1:{http_port}/readyz"]
        done = subprocess.run(
            ["docker", "exec", self.container(service), *words], env=self.environment, capture_output=True, check=False
        )
        return done.returncode == 0

    def execute(self, service: str, *words: str) -> str:
        """Run a command in a container and return what it prints."""
        return self.docker("exec", self.container(service), *words)

    # What the running stack says.

    def client(self, user: str = "", password: str = "") -> Client:
        """Return a client of the stack's broker; the caller closes it."""
        return Client(cast(Broker, self), user=user, password=password)  # it asks for no more than host and port

    def pins(self) -> dict[str, int]:
        """Return what the lights are, read off the virtual device's pins."""
        red, green = self.execute(
            "demo-lights", "sh", "-c", "cd /data/devices/lights; cat pin4; echo; cat pin5"
        ).split()
        return {"red": int(red), "green": int(green)}

    def wishes(self) -> dict[str, tuple[float, float]]:
        """Return pin -> (desired, reported) of the lights as the webhook has them; a released pin counts as 0."""
        answer = self.operate("/pins")
        return {
            one["pin"]: (
                one["desired"]["value"] if one["desired"] else 0,
                one["reported"]["value"] if one["reported"] else -1,
            )
            for one in answer["pins"]
            if one["device"] == "lights"
        }

    def operate(self, path: str, body: object = None, method: str = "") -> Any:
        """Return what the webhook answers the operator."""
        user = ("operator", self.secret("operator_password"))
        return self.http("WEBHOOK_PORT", path, user=user, body=body, method=method)

    def query(self, influxql: str) -> list[list[Any]]:
        """Return the rows that the store has for a query, with the token that only reads."""
        token = self.secret("store_read_token")
        answer = self.http("INFLUXDB_PORT", "/query", token=token, query={"db": "pinloop", "q": influxql})
        series = answer["results"][0].get("series", [])
        return [row for one in series for row in one["values"]]

    def http(
        self,
        port: str,
        path: str,
        *,
        user: tuple[str, str] | None = None,
        token: str = "",
        body: object = None,
        method: str = "",
        query: Mapping[str, str] = {},
    ) -> Any:
        """Return the JSON that a published port answers; None when the answer has no body."""
        more = "?" + urllib.parse.urlencode(query) if query else ""
        request = urllib.request.Request(f"http://{self.host}:{self.ports[port]}{path}{more}")
        if user:
            request.add_header("Authorization", "Basic " + base64.b64encode(":".join(user).encode()).decode())
        if token:
            request.add_header("Authorization", f"Token {token}")
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if method:
            request.method = method
        with urllib.request.urlopen(request, timeout=3) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def _help(self, *options: str, line: str) -> None:
        """Run a line of shell as root in a container of its own."""
        image = self.images.get("PYTHON_IMAGE", "pinloop:test")
        user = ["--user", "0:0", "--network", "none", "--entrypoint", "sh"]
        self.docker("run", "--rm", *user, *options, image, "-c", line)

    def _run(self, words: list[str], timeout_s: float, variables: Mapping[str, str] = {}) -> str:
        done = subprocess.run(
            words, cwd=ROOT, env={**self.environment, **variables}, capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip
        if done.returncode:
            said = done.stdout[-2000:] + done.stderr[-2000:]
            raise AssertionError(f"`{' '.join(words[-6:])}` ended with {done.returncode}: {said}")
        return done.stdout


def _variables(file: Path) -> dict[str, str]:
    lines = (line.strip() for line in file.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
