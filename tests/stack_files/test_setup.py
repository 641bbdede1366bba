"""Setup: every secret once, each copy only for who needs it, and the tokens that InfluxDB makes."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pinloop import setup
from pinloop.secrets import is_mosquitto_password
from pinloop.setup import SECRETS, UIDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the secrets go; not made yet."""
    return tmp_path / "secrets"


def run(folder: Path, *words: str) -> int:
    """Run setup as the container does."""
    return setup.main(["--folder", str(folder), *words])


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return path -> content, time of change and inode of every file."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in files
    }


def test_a_second_run_changes_nothing(folder: Path) -> None:
    """Not one file is written again."""
    assert run(folder) == 0
    first = snapshot(folder)

    assert run(folder) == 0

    assert snapshot(folder) == first


def test_every_holder_gets_its_copy_and_nobody_else(folder: Path) -> None:
    """Readable by its user only; the originals only by the owner of the stack."""
    run(folder)

    for secret in SECRETS:
        original = (folder / "owner" / secret.name).read_text()
        copies = {path.parent.name: path for path in folder.glob(f"*/{secret.name}") if path.parent.name != "owner"}
        assert set(copies) == set(secret.holders)
        assert {path.read_text() for path in copies.values()} == {original}
        assert len(original.strip()) == secret.chars
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".lock":
            mode = {"owner": 0o600, "public": 0o444}.get(path.relative_to(folder).parts[0], 0o400)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    assert {stat.S_IMODE((folder / holder).stat().st_mode) for holder in ("owner", *UIDS)} == {0o700}


def test_every_secret_differs(folder: Path) -> None:
    """No password opens two doors."""
    run(folder)

    values = [path.read_text() for path in (folder / "owner").rglob("*") if path.is_file() and path.name != ".lock"]

    assert len(values) == len(set(values)) > len(SECRETS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_each_service_its_files(folder: Path) -> None:
    """Group as well: mosquitto complains about another one."""
    run(folder)

    for holder, uid in UIDS.items():
        for path in (folder / holder, *(folder / holder).iterdir()):
            assert (path.stat().st_uid, path.stat().st_gid) == (uid, uid)


def test_a_lost_or_damaged_copy_comes_back_from_the_original(folder: Path) -> None:
    """A restored volume may have lost some."""
    run(folder)
    first = snapshot(folder)
    (folder / "hub" / "console_password").unlink()
    (folder / "mosquitto" / "acl").unlink()
    (folder / "mosquitto" / "acl").write_text("user nobody\n")

    run(folder)

    assert {path: content for path, (content, *_) in snapshot(folder).items()} == {
        path: content for path, (content, *_) in first.items()
    }


def test_a_password_that_the_owner_put_there_is_kept_and_handed_out(folder: Path) -> None:
    """The broker's users follow."""
    run(folder)
    (folder / "owner" / "mqtt_hub").write_text("chosen-by-me\n")

    run(folder)

    assert (folder / "hub" / "mqtt_hub").read_text() == "chosen-by-me\n"
    line = next(line for line in (folder / "mosquitto" / "passwd").read_text().splitlines() if "svc.hub:" in line)
    assert is_mosquitto_password(line, "chosen-by-me")


@pytest.mark.parametrize("bad", ["short", "with$dollar", "two words here"])
def test_a_password_that_would_break_something_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    """One line that names the file and the rule, not the password."""
    run(folder)
    (folder / "owner" / "alert_password").write_text(bad)
    capsys.readouterr()

    assert run(folder) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "owner/alert_password" in said
    assert bad not in said


def test_a_device_gets_an_account_and_the_others_keep_theirs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its password is printed, also when it has one already; the broker must be told."""
    run(folder)
    before = set((folder / "mosquitto" / "passwd").read_text().splitlines())
    capsys.readouterr()

    assert run(folder, "device", "pump-1") == 0

    said = capsys.readouterr()
    name, password = said.out.split()
    assert name == "pump-1"
    assert "kill -HUP 1" in said.err
    added = set((folder / "mosquitto" / "passwd").read_text().splitlines()) - before
    assert [is_mosquitto_password(line, password) for line in added] == [True]

    run(folder, "device", "pump-1")
    again = capsys.readouterr()
    assert again.out.split() == ["pump-1", password]
    assert "HUP" not in again.err


@pytest.mark.parametrize("name", ["Pump", "../x", "svc.hub", "a/b", ""])
def test_a_device_id_outside_the_grammar_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It would be a path or a service."""
    assert run(folder, "device", name) == 1
    assert "is not a device id" in capsys.readouterr().err


def test_show_prints_every_secret_with_what_it_opens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For the owner; nothing is made by it, and a start does not print any."""
    run(folder)
    quiet = capsys.readouterr()
    first = snapshot(folder)

    assert run(folder, "show") == 0

    said = capsys.readouterr().out
    for secret in SECRETS:
        value = (folder / "owner" / secret.name).read_text().strip()
        assert any(line.split()[:2] == [secret.name, value] for line in said.splitlines())
        assert value not in quiet.out + quiet.err
    assert snapshot(folder) == first


def test_the_acl_has_the_prefix_of_the_stack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices and services get the same from .env."""
    monkeypatch.setenv("PINLOOP_MQTT_PREFIX", "site/a")

    run(folder)

    assert "pattern write site/a/%u/status" in (folder / "mosquitto" / "acl").read_text()


class FakeInflux(ThreadingHTTPServer):
    """InfluxDB 2's API for buckets and authorizations, as 2.9.1 answers it (docs/stack.md says how that was measured).

    It says a token once and lists it as "" from then on; what is not there is 404, an unknown token 401; a token lists
    the buckets that it may read, an inactive one none.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeInfluxHandler)
        self.has_api = True
        self.version = "v2.9.1"
        self.owners_tokens: set[str] = set()  # of a server without the API
        self.is_set_up = True
        self.admin = ""
        self.buckets = [{"id": "b1", "orgID": "o1", "name": "pinloop"}]
        self.authorizations: dict[str, Any] = {}
        self.made = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], token: str, wish: Any) -> tuple[int, Any]:
        """Return (status, body)."""
        if path == "/ping":
            return 204, None
        if path == "/query" and not self.has_api:
            return (200, {"results": [{}]}) if token in self.owners_tokens else (401, {"error": "authorization failed"})
        if not self.has_api:
            return 404, "404 page not found"
        if path == "/api/v2/setup":
            return 200, {"allowed": not self.is_set_up}
        known = {f"token-{number}": one for number, one in self.authorizations.items()}
        if token not in {self.admin, *known}:
            return 401, {"code": "unauthorized", "message": "unauthorized access"}
        if path == "/api/v2/buckets":
            return self._buckets(query, known.get(token))
        assert token == self.admin
        if method == "GET":
            return 200, {"authorizations": [{**one, "token": ""} for one in self.authorizations.values()]}
        if method == "DELETE":
            del self.authorizations[path.rpartition("/")[2]]
            return 204, None
        self.made += 1
        number = f"a{self.made}"
        self.authorizations[number] = {**wish, "id": number, "status": "active"}
        return 201, {**wish, "id": number, "token": f"token-{number}"}

    def _buckets(self, query: dict[str, list[str]], scoped: Any) -> tuple[int, Any]:
        if query.get("org", ["pinloop"]) != ["pinloop"]:
            return 404, {"code": "not found", "message": f'organization name "{query["org"][0]}" not found'}
        wanted = [one for one in self.buckets if [one["name"]] == query.get("name") or [one["id"]] == query.get("id")]
        if not wanted:
            return 404, {"code": "not found", "message": f'bucket "{query.get("name", [""])[0]}" not found'}
        if scoped is not None:
            may = {one["resource"]["id"] for one in scoped["permissions"] if scoped["status"] == "active"}
            wanted = [one for one in wanted if one["id"] in may]
        return 200, {"buckets": wanted}


class FakeInfluxHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: FakeInflux

    def do_GET(self) -> None:
        """Hand it to the server."""
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        token = self.headers["Authorization"].removeprefix("Token ")
        wish = json.loads(body) if body else None
        status, said = self.server.answer(self.command, parts.path, parse_qs(parts.query), token, wish)
        data = b"" if said is None else json.dumps(said, indent=1).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if self.server.version:
            self.send_header("X-Influxdb-Version", self.server.version)
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def influx(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeInflux]:
    """An InfluxDB that was set up with the token that setup made."""
    run(folder)
    server = FakeInflux()
    server.admin = (folder / "owner" / "influxdb_token").read_text().strip()
    for word, value in (("URL", server.url), ("ORG", "pinloop"), ("BUCKET", "pinloop")):
        monkeypatch.setenv(f"PINLOOP_STORE_{word}", value)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tokens(folder: Path) -> dict[str, str]:
    """Return holder -> its token."""
    return {
        path.parent.name: path.read_text().strip() for path in folder.glob("*/store_*") if path.parent.name != "owner"
    }


def test_the_store_makes_one_token_that_writes_and_one_that_reads(folder: Path, influx: FakeInflux) -> None:
    """For the one bucket; the operator's token stays with the owner and InfluxDB."""
    assert run(folder, "store") == 0

    assert tokens(folder) == {"listener": "token-a1", "hub": "token-a2", "grafana": "token-a2"}
    granted = [
        {(one["action"], one["resource"]["type"], one["resource"]["id"]) for one in authorization["permissions"]}
        for authorization in influx.authorizations.values()
    ]
    assert granted == [{("read", "buckets", "b1"), ("write", "buckets", "b1")}, {("read", "buckets", "b1")}]


def test_tokens_are_made_once(folder: Path, influx: FakeInflux) -> None:
    """A second `up` changes nothing."""
    run(folder, "store")
    first = snapshot(folder)

    assert run(folder, "store") == 0

    assert influx.made == 2
    assert snapshot(folder) == first


def test_a_store_that_was_emptied_gets_new_tokens(folder: Path, influx: FakeInflux) -> None:
    """The old ones are of a database that is gone."""
    run(folder, "store")
    influx.authorizations.clear()

    run(folder, "store")

    assert tokens(folder) == {"listener": "token-a3", "hub": "token-a4", "grafana": "token-a4"}


def test_a_lost_token_is_replaced_and_taken_back(folder: Path, influx: FakeInflux) -> None:
    """The server cannot say it again."""
    run(folder, "store")
    (folder / "owner" / "store_read_token").unlink()

    run(folder, "store")

    assert tokens(folder) == {"listener": "token-a1", "hub": "token-a3", "grafana": "token-a3"}
    assert sorted(influx.authorizations) == ["a1", "a3"]


@pytest.mark.parametrize(("version", "expected"), [("1.8.10", "admin:{}"), ("3.11.2", "{}"), ("", "{}")])
def test_a_store_without_scoped_tokens_gets_the_only_one_there_is(
    folder: Path, influx: FakeInflux, version: str, expected: str
) -> None:
    """InfluxDB 3 Core the operator's; InfluxDB 1 takes a user and a password for a token."""
    influx.has_api, influx.version = False, version

    assert run(folder, "store") == 0

    assert set(tokens(folder).values()) == {expected.format(influx.admin)}


def test_users_that_the_owner_made_in_such_a_store_are_kept(folder: Path, influx: FakeInflux) -> None:
    """As long as it lets them in."""
    influx.has_api, influx.version = False, "1.8.10"
    influx.owners_tokens = {"writer:one", "reader:two"}
    for name, token in (("store_write_token", "writer:one"), ("store_read_token", "reader:gone")):
        (folder / "owner" / name).write_text(token)

    assert run(folder, "store") == 0

    every = f"admin:{influx.admin}"
    assert tokens(folder) == {"listener": "writer:one", "hub": every, "grafana": every}


@pytest.mark.parametrize("trouble", ["unknown", "inactive", "of another bucket"])
def test_a_token_that_does_not_open_the_bucket_is_replaced(folder: Path, influx: FakeInflux, trouble: str) -> None:
    """As after a restore of one half only; the other token stays."""
    run(folder, "store")
    if trouble == "unknown":
        (folder / "owner" / "store_read_token").write_text("stale\n")
    elif trouble == "inactive":
        influx.authorizations["a2"]["status"] = "inactive"
    else:
        influx.authorizations["a2"]["permissions"][0]["resource"]["id"] = "b0"

    assert run(folder, "store") == 0

    assert tokens(folder) == {"listener": "token-a1", "hub": "token-a3", "grafana": "token-a3"}
    assert sorted(influx.authorizations) == ["a1", "a3"]


@pytest.mark.parametrize("trouble", ["token", "bucket", "organization", "not set up", "down"])
def test_a_store_that_refuses_is_one_clear_line(
    folder: Path, influx: FakeInflux, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Exit 1, the services that need the token do not start, and least of all get the operator's."""
    expected = {
        "token": "401 unauthorized access",
        "bucket": '404 bucket "pinloop" not found',
        "organization": '404 organization name "greenhouse" not found',
        "not set up": "was never set up: its first start was cut off",
        "down": "does not answer",
    }
    if trouble == "token":
        influx.admin = "another"
    elif trouble == "bucket":
        influx.buckets.clear()
    elif trouble == "organization":
        monkeypatch.setenv("PINLOOP_STORE_ORG", "greenhouse")
    elif trouble == "not set up":
        influx.is_set_up = False
    else:
        monkeypatch.setenv("PINLOOP_STORE_URL", "http://127.0.0.1:1")

    assert run(folder, "store") == 1

    said = capsys.readouterr().err.splitlines()
    assert expected[trouble] in said[-1]
    assert not tokens(folder)
