"""`python -m pinloop.setup`: makes the stack's secrets, each service's copies, the broker's users and certificate.

Runs as the one-shot services `setup` and `store-setup` of docker-compose.yml. The originals are in `owner/` of
the secrets folder; every service has a folder of its own there that only its user id can read. What exists
stays: a second run changes nothing.
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contract.errors import ContractError
from contract.limits import DEFAULT_PREFIX
from contract.topics import Topics, check_device
from inputs import Inputs, load
from inputs.declared import NONE
from pinloop.broker_files import DOCTOR_DEVICE, HEALTH_USER, SERVICE_USERS, acl_text, check_users, password_text
from pinloop.certificates import (
    BASE_NAMES,
    RENEW_DAYS,
    CertificateError,
    certificate_of,
    ends,
    make_authority,
    renewed,
    split_names,
)
from pinloop.grafana_token import make_token
from pinloop.secrets import ALPHABET, read_or_make, write_file
from pinloop.store_tokens import StoreTokenError, scoped_tokens
from service.document import DocumentError
from service.errors import SettingsError
from webhook.foreign.model import Device
from webhook.routes_file import load_routes

__all__ = ["DEMO_DEVICES", "SECRETS", "UIDS", "Secret", "Secrets", "main"]

# Service -> user id of its container. The first three are those of the published images.
UIDS = {
    "mosquitto": 1883,
    "influxdb": 1000,
    "grafana": 472,
    "listener": 10001,
    "rules": 10002,
    "webhook": 10003,
    "hub": 10004,
    "devices": 10005,
}
DEMO_DEVICES = ("pot", "lights")  # of `--profile demo`; without it two accounts whose passwords nobody uses

# Who has a port for HTTPS. One key for all of them: they go by the same names, so theft of one would be theft of each.
HTTPS_SERVICES = ("listener", "webhook", "hub")

_RELOAD = "a running broker reads its files again on: docker compose exec mosquitto sh -c 'kill -HUP 1'"
_LEAST_CHARS = 8  # InfluxDB refuses shorter passwords; nobody should want them


@dataclass(frozen=True)
class Secret:
    """A secret and who gets a copy.

    Attributes:
        name: of its file, in `owner/` and in each holder's folder.
        holders: services, keys of UIDS.
        about: what it opens, for the owner.
        chars: length when it is made.
    """

    name: str
    holders: tuple[str, ...]
    about: str
    chars: int = 24


SECRETS = (
    Secret("console_password", ("hub",), "console; user `owner` for the API"),
    Secret("grafana_password", ("grafana",), "Grafana, user `admin` (at its first start)"),
    Secret("influxdb_password", ("influxdb",), "InfluxDB, user `admin` (at its first start)"),
    Secret("operator_password", ("webhook", "hub"), "webhook, user `operator`"),
    Secret("alert_password", ("webhook", "rules", "grafana"), "webhook, user `alerts`: may post alerts only"),
    Secret("hmac_key", ("webhook", "rules", "grafana"), "signs what Grafana and rules post to the webhook", 43),
    Secret("influxdb_token", ("influxdb",), "InfluxDB, operator token: no service has it", 43),
    Secret("grafana_secret_key", ("grafana",), "encrypts what Grafana keeps", 43),
    *(
        Secret(f"mqtt_{user.removeprefix('svc.')}", (user.removeprefix("svc."),), f"broker, user `{user}`")
        for user in SERVICE_USERS
    ),
    Secret("mqtt_health", ("mosquitto",), f"broker, user `{HEALTH_USER}`: reads its uptime"),
)
# Made by InfluxDB, not here: it says them once, and keeps only their hashes.
_WRITE_TOKEN = Secret("store_write_token", ("listener",), "InfluxDB: reads and writes the readings")
_READ_TOKEN = Secret("store_read_token", ("hub", "grafana"), "InfluxDB: reads the readings")
# Two halves of one thing, made together; of no use to people, so they are not shown.
_GRAFANA_TOKEN = Secret("grafana_token", ("webhook",), "Grafana: reads the alerts that fire")
_GRAFANA_KEY = Secret("grafana_token_key", ("grafana",), "the key that it fits")


class SetupError(Exception):
    """The secrets cannot be set up; the message says why and what to do."""


class Secrets:
    """The secrets folder.

    Args:
        folder: the root of it, the `secrets` volume in the stack.
        prefix: first level(s) of every topic, for the ACL.
        names: host names and addresses for the broker's certificate; None keeps those that it has.
        inputs: other firmware, for the ACL.
        devices: of other firmware, which the webhook stands in for; for the ACL.

    Attributes:
        changed: files that were written, relative to `folder`.
        notes: what the owner should know besides.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str = DEFAULT_PREFIX,
        names: Sequence[str] | None = None,
        inputs: Inputs = NONE,
        devices: Sequence[Device] = (),
    ) -> None:
        self.folder = folder
        self.owner = folder / "owner"
        self.prefix = prefix
        self.names = names
        self.inputs = inputs
        self.devices = devices
        self.changed: list[str] = []
        self.notes: list[str] = []
        self._as_root = os.geteuid() == 0  # only root can give the copies to their services

    def prepare(self) -> None:
        """Make what is missing and bring every copy up to date; `changed` names the files that were written.

        Raises:
            SetupError: a secret that somebody put there cannot be used.
            CertificateError: the broker's certificate cannot be made.
            OSError: the folder cannot be written.
        """
        for secret in SECRETS:
            self._hand_out(secret, self._make(self.owner / secret.name, secret.chars))
        for device in DEMO_DEVICES:
            self._place("devices", device, self._make(self.owner / "devices" / device) + "\n")
        self._make(self.owner / "devices" / DOCTOR_DEVICE)
        self._make_grafana_token()
        self.update_broker()
        self.update_certificates(datetime.now(UTC))

    def add_device(self, device: str) -> str:
        """Return the broker password of `device`, made when it has none.

        Raises:
            ContractError: no device may be called so, with the inputs that are declared.
        """
        check_users([check_device(device)], self.prefix, self.inputs, self.devices)
        password = self._make(self.owner / "devices" / device)
        self.update_broker()
        return password

    def update_broker(self) -> None:
        """Write the broker's users and rights.

        Raises:
            TopicError: a device's name would give it the rights of others.
        """
        devices = self.owner / "devices"
        accounts = {device.name: _read(device) for device in devices.iterdir() if not device.name.startswith(".")}
        check_users(accounts, self.prefix, self.inputs, self.devices)
        for user in (*SERVICE_USERS, HEALTH_USER):
            accounts[user] = _read(self.owner / f"mqtt_{user.removeprefix('svc.')}")
        passwd = self.folder / "mosquitto" / "passwd"
        old = passwd.read_text(encoding="utf-8") if passwd.exists() else ""
        self._place("mosquitto", "passwd", password_text(accounts, old))
        self._place("mosquitto", "acl", acl_text(self.prefix, self.inputs, self.devices))

    def update_certificates(self, now: datetime) -> None:
        """Make the authority once, and the certificates of the broker and of HTTPS when they need to be made.

        Only the owner can read the authority's key; the authority's certificate is for everybody.
        """
        kept = self.owner / "mqtt_ca"
        if not kept.exists():
            write_file(kept, make_authority(now))
        authority = kept.read_text(encoding="ascii")
        broker, reason = self._renewed(authority, self.folder / "mosquitto" / "certificate", (), now)
        self._place("mosquitto", "certificate", broker)
        if reason:
            self.notes.append(f"the broker has a new certificate: {reason}; {_RELOAD}")
        path = self.owner / "https_certificate"
        https, reason = self._renewed(authority, path, HTTPS_SERVICES, now)
        if not path.exists() or path.read_text(encoding="ascii") != https:
            write_file(path, https)
        for holder in HTTPS_SERVICES:
            self._place(holder, path.name, https)
        if reason:
            self.notes.append(f"HTTPS has a new certificate: {reason}; the services take it over by themselves")
        if ends(authority) - now < timedelta(days=RENEW_DAYS):
            what = f"the authority of the broker's certificate ends on {ends(authority):%Y-%m-%d}: delete {kept}"
            self.notes.append(f"{what}, run setup again, restart the stack and give every device the new one")
        self._publish("mqtt_ca", certificate_of(authority))

    def _renewed(self, authority: str, path: Path, own: Sequence[str], now: datetime) -> tuple[str, str]:
        """Return a key and certificate, the one at `path` if it still does, and why it is another one than there.

        Args:
            own: names in the stack's network in place of the broker's.
        """
        old = path.read_text(encoding="ascii") if path.exists() else ""
        names = self.names if old or self.names else BASE_NAMES
        if names is not None and own:
            names = [*own, *(name for name in names if name != BASE_NAMES[0])]
        certificate, reason = renewed(authority, old, names, now)
        return certificate, reason if old else ""

    def store(self, url: str, org: str, bucket: str) -> None:
        """Have InfluxDB make the scoped tokens that are missing, and hand them out.

        Raises:
            StoreTokenError: the server refuses or does not answer.
        """
        files = {one: self.owner / one.name for one in (_WRITE_TOKEN, _READ_TOKEN)}
        known = tuple(_read(path) if path.exists() else "" for path in files.values())
        tokens = scoped_tokens(url, org, bucket, _read(self.owner / "influxdb_token"), (known[0], known[1]))
        for secret, token in zip(files, tokens, strict=True):
            if token not in known:
                write_file(files[secret], token + "\n")
            self._hand_out(secret, token)

    def shown(self) -> Iterator[tuple[str, str, str]]:
        """Return (name, value, what it opens) of everything there is."""
        for secret in (*SECRETS, _WRITE_TOKEN, _READ_TOKEN):
            if (self.owner / secret.name).exists():
                yield secret.name, _read(self.owner / secret.name), secret.about
        for device in sorted((self.owner / "devices").glob("[!.]*")):
            yield device.name, _read(device), "broker, the device of this name"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second setup out for the length of a `with` block."""
        self.owner.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.owner / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, path: Path, chars: int = 24) -> str:
        secret = read_or_make(path, chars)
        # Grafana expands "$" in provisioned values, a password file cannot hold a line break, and so on.
        if len(secret) < _LEAST_CHARS or not set(secret) <= set(ALPHABET):
            rule = f"is not at least {_LEAST_CHARS} of A-Z a-z 0-9 _ -"
            raise SetupError(f"{path}: {rule}; put another there, or delete it and a new one is made")
        return secret

    def _make_grafana_token(self) -> None:
        """Make the webhook's token for Grafana and its key, unless both are there; hand them out.

        A token of a service account that the owner put in its place stays, too.
        """
        files = [self.owner / secret.name for secret in (_GRAFANA_TOKEN, _GRAFANA_KEY)]
        if not all(path.exists() for path in files):
            for path, text in zip(files, make_token(), strict=True):
                write_file(path, text.strip() + "\n")
        for secret, path in zip((_GRAFANA_TOKEN, _GRAFANA_KEY), files, strict=True):
            self._hand_out(secret, _read(path))

    def _hand_out(self, secret: Secret, value: str) -> None:
        for holder in secret.holders:
            self._place(holder, secret.name, value + "\n")
        # Who held it once, in an earlier version, does not any more.
        for holder in UIDS.keys() - {*secret.holders, "devices"}:
            (self.folder / holder / secret.name).unlink(missing_ok=True)

    def _place(self, holder: str, name: str, text: str) -> None:
        """Write a holder's file unless it is there already with that text and owner."""
        uid = UIDS[holder] if self._as_root else None
        folder = self.folder / holder
        folder.mkdir(mode=0o700, exist_ok=True)
        if uid not in (None, folder.stat().st_uid):
            os.chown(folder, uid, uid)
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text and uid in (None, path.stat().st_uid):
            return
        write_file(path, text, 0o400, uid)
        self.changed.append(f"{holder}/{name}")

    def _publish(self, name: str, text: str) -> None:
        """Write a file that every service may read."""
        path = self.folder / "public" / name
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o755)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_file(path, text, 0o444)
            self.changed.append(f"public/{name}")


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def main(argv: Sequence[str]) -> int:
    """Run a command; return the exit code: 0, or 1 with one line on stderr."""
    environ = os.environ
    parser = argparse.ArgumentParser(prog="python -m pinloop.setup", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("/secrets"), help="the secrets folder (default: /secrets)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands (none: make what is missing)")
    commands.add_parser("show", help="print every secret")
    commands.add_parser("ca", help="print the certificate (PEM) that devices with TLS must trust; it is no secret")
    device = commands.add_parser("device", help="make broker users for devices and print their passwords")
    device.add_argument("names", nargs="+", metavar="NAME", help="device id: 1 to 32 of a-z 0-9 _ -")
    commands.add_parser("store", help="have InfluxDB make the scoped tokens")
    arguments = parser.parse_args(argv)
    try:
        names = environ.get("PINLOOP_MQTT_TLS_NAMES")
        prefix = environ.get("PINLOOP_MQTT_PREFIX", DEFAULT_PREFIX)
        inputs = load(Path(environ.get("PINLOOP_INPUTS_PATH", "")))
        devices = _declared(environ.get("PINLOOP_ROUTES_PATH", ""), prefix)
        secrets = Secrets(arguments.folder, prefix, None if names is None else split_names(names), inputs, devices)
        with secrets.locked():
            if arguments.command == "show":
                _print_secrets(secrets)
                return 0
            secrets.prepare()
            if arguments.command == "ca":
                print((secrets.folder / "public" / "mqtt_ca").read_text(encoding="ascii"), end="")
            if arguments.command == "store":
                secrets.store(*(environ[f"PINLOOP_STORE_{word}"] for word in ("URL", "ORG", "BUCKET")))
            for name in getattr(arguments, "names", ()):
                print(f"{name}  {secrets.add_device(name)}")
    except KeyError as error:
        print(f"setup: {error.args[0]} is not set", file=sys.stderr)
        return 1
    except CertificateError as error:
        print(f"setup: the broker's certificate: {error}", file=sys.stderr)
        return 1
    except (SetupError, SettingsError, DocumentError, StoreTokenError, ContractError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    for name in secrets.changed:
        print(f"setup: wrote {name}", file=sys.stderr)
    for note in secrets.notes:
        print(f"setup: {note}", file=sys.stderr)
    if arguments.command == "device" and "mosquitto/passwd" in secrets.changed:
        print(f"setup: new users; {_RELOAD}", file=sys.stderr)
    return 0


def _declared(routes_path: str, prefix: str) -> list[Device]:
    """Return the devices of other firmware in routes.yml; of no file when the path is empty."""
    return list(load_routes(Path(routes_path), Topics(prefix)).devices.values()) if routes_path else []


def _print_secrets(secrets: Secrets) -> None:
    rows = list(secrets.shown())
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for name, value, about in rows:
        print(f"{name:{widths[0]}}  {value:{widths[1]}}  {about}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
