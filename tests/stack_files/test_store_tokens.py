"""The tokens that InfluxDB makes for setup, one for who writes and one for who reads."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinloop import setup
from tests.stack_files.fake_influx import FakeInflux


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the secrets go; not made yet."""
    return tmp_path / "secrets"


def run(folder: Path, *words: str) -> int:
    """Run setup as the container does."""
    return setup.main(["--folder", str(folder), *words])


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
    first = tokens(folder)

    assert run(folder, "store") == 0

    assert influx.made == 2
    assert tokens(folder) == first


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
