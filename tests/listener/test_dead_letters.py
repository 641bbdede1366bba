"""The dead-letter file: what is kept of points and messages, its bounds, and `pinloop deadletter` on it."""

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prometheus_client import REGISTRY

from contract.readings import encode_reading
from inputs.declared import parse
from listener import dead_file
from listener.assemble import Assembler
from listener.batch import Kept
from listener.dead import DeadLetters
from listener.decode import Decoder
from listener.foreign import foreign
from listener.translate import Translator
from pinloop.cli import main
from service.packets import Received
from store import StoreError
from store.points import Point
from store.sqlite import SqliteStore

T_NS = 1763690000 * 10**9
TOPIC = "pinloop/pot/reading/pot"


def point(n: int, value: float = 1) -> Point:
    """Return a numbered reading."""
    return Point("readings", (("device", "pot"),), {"pot": value, "n": n, "boot": "k3f9"}, T_NS + n)


def letters(path: Path) -> list[dict[str, object]]:
    """Return what the file says."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def lost(reason: str) -> float:
    """Return how many letters were counted as not kept."""
    return REGISTRY.get_sample_value("listener_dead_letters_dropped_total", {"reason": reason}) or 0


def test_a_letter_says_what_came_when_and_why_it_is_here(tmp_path: Path) -> None:
    """Points with their line, messages with their bytes."""
    path = tmp_path / "dead" / "letters.jsonl"
    dead = DeadLetters(path)
    dead.add_points("main", [(point(7), Kept(TOPIC, b'{"v":1,"n":7}', T_NS), "type conflict")])
    dead.add_messages([(Kept(TOPIC, b"sixty", T_NS), "json: no value"), (Kept(TOPIC, b"\xff\xfe", T_NS), "utf8")])
    first, second, third = letters(path)
    assert (first["by"], first["reason"], first["topic"], first["payload"]) == (
        "main", "type conflict", TOPIC, '{"v":1,"n":7}',
    )  # fmt: skip
    assert first["line"] == f'readings,device=pot pot=1.0,n=7.0,boot="k3f9" {T_NS + 7}'
    assert (second["by"], second["payload"], second["received_ns"]) == ("decoder", "sixty", T_NS)
    assert (third["payload"], third["payload_base64"]) == (None, "//4=")
    assert all(str(one["at"]).endswith("+00:00") for one in (first, second, third))


def test_a_torn_letter_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    """The power went while the last one was written; whoever reads the file passes over it."""
    path = tmp_path / "dead.jsonl"
    path.write_text('{"reason": "ha')
    DeadLetters(path).add_points("main", [(Point("readings", (), {"x": float("nan")}, 1), None, "no number")])
    torn, whole = path.read_text().splitlines()
    assert torn == '{"reason": "ha'
    assert (json.loads(whole)["line"], json.loads(whole)["topic"]) == (None, None)
    assert [one.said["reason"] for one in dead_file.read(path)] == ["no number"]


def test_the_file_is_bounded_and_the_oldest_letters_go(tmp_path: Path) -> None:
    """Counted; the newest are there."""
    path = tmp_path / "dead.jsonl"
    dead = DeadLetters(path, 65536)
    before = lost("room")
    for n in range(1000):
        dead.add_points("main", [(point(n), None, "no")])
    left = [one.said["ts_ns"] - T_NS for one in dead_file.read(path)]
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 65536
    assert left == list(range(1000 - len(left), 1000))
    assert len(left) > 100
    assert lost("room") - before == 1000 - len(left)


def test_a_flood_of_nonsense_does_not_push_out_the_letters_of_others(tmp_path: Path) -> None:
    """What is beyond the rate is counted only; points are kept always."""
    path = tmp_path / "dead.jsonl"
    dead = DeadLetters(path)
    before = lost("rate")
    for _ in range(50):
        dead.add_messages([(Kept(TOPIC, b"x", T_NS), "json")] * 100)
    dead.add_points("main", [(point(1), None, "no")])
    kept = len(letters(path))
    assert 1001 <= kept < 1200
    assert lost("rate") - before == 5001 - kept


def test_neither_do_long_ones(tmp_path: Path) -> None:
    """They may have an eighth of the file at once, and as much in an hour."""
    path = tmp_path / "dead.jsonl"
    dead = DeadLetters(path, 1 << 20)
    dead.add_points("main", [(point(1), None, "no")])
    before = lost("rate")
    for _ in range(10):
        dead.add_messages([(Kept(TOPIC, bytes(10_000), T_NS), "json")] * 100)  # six letters for each byte, in JSON
    assert path.stat().st_size < 1 << 18
    assert lost("rate") - before == 1000 - (len(letters(path)) - 1)
    assert len(letters(path)) > 1
    assert not dead_file.older(path).exists()


def test_many_letters_at_once_keep_to_the_bound(tmp_path: Path) -> None:
    """A batch whose points are all refused, each with its long message."""
    path = tmp_path / "dead.jsonl"
    before = lost("room")
    DeadLetters(path, 65536).add_points("main", [(point(n), Kept(TOPIC, b"x" * 5000, T_NS), "no") for n in range(100)])
    left = [one.said["ts_ns"] - T_NS for one in dead_file.read(path)]
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 65536
    assert left == list(range(100 - len(left), 100))
    assert len(left) > 5
    assert lost("room") - before == 100 - len(left)


def test_a_message_with_many_bad_lines_is_one_letter() -> None:
    """Each line is counted; the letter holds the message once, not once for each of them: that was 96 MB for 64 kB."""
    known = parse("[isems]")
    translator = Translator(Decoder("pinloop", "", foreign(known)), Assembler(16))
    good = b"a;1;1700000000;f;1;0;;;12;;;;;;;;;"
    received = Received("/isems/x/csvlog", b"a\n" * 100 + good + b"\nb;c", False, 1, 1, 0, T_NS)
    before = REGISTRY.get_sample_value("listener_messages_rejected_total", {"reason": "shape"}) or 0
    batch = translator.batch([received], 1000)
    assert len([one for one in batch.points if one.measurement == "readings"]) == 1
    [(letter, reason)] = translator.rejected()
    assert letter is received
    assert reason.startswith("line 1: 1 fields are not 18 or 19; line 2: ")
    assert reason.endswith("; and 98 more")
    assert REGISTRY.get_sample_value("listener_messages_rejected_total", {"reason": "shape"}) == before + 101


def test_a_disk_that_refuses_holds_points_and_lets_messages_go(tmp_path: Path) -> None:
    """A stranger's message must not hold up what can be read."""
    (tmp_path / "dead").write_text("in the way")
    dead = DeadLetters(tmp_path / "dead" / "letters.jsonl")
    before = lost("disk")
    dead.add_messages([(Kept(TOPIC, b"x", T_NS), "json")])
    assert lost("disk") == before + 1
    with pytest.raises(StoreError, match="letters") as caught:
        dead.add_points("main", [(point(1), None, "no")])
    assert not caught.value.permanent


def test_a_command_that_was_stopped_in_the_middle_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z while it has the files: as if the disk refused, until it goes on."""
    monkeypatch.setattr(dead_file, "_LOCKED_S", 0.05)
    path = tmp_path / "letters.jsonl"
    dead = DeadLetters(path)
    before = lost("disk")
    with dead_file.locked(path):
        dead.add_messages([(Kept(TOPIC, b"x", T_NS), "json")])
        with pytest.raises(StoreError, match="another process holds it"):
            dead.add_points("main", [(point(1), None, "no")])
    assert lost("disk") == before + 1
    dead.add_points("main", [(point(1), None, "no")])
    assert len(letters(path)) == 1


# pinloop deadletter


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of local mode whose store refuses the value 666; two refused points, a message, and nonsense."""
    path = tmp_path / "data"
    store = SqliteStore(path / "store.db")
    store.write([point(1)])
    store.close()
    with sqlite3.connect(path / "store.db") as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON samples WHEN NEW.value = 666"
            " BEGIN SELECT RAISE(ABORT, 'no such value'); END"
        )
    dead = DeadLetters(path / "dead-letters.jsonl")
    dead.add_points("main", [(point(n, 666), Kept(TOPIC, b"666", T_NS), "no such value") for n in (2, 3)])
    dead.add_messages(
        [(Kept(TOPIC, encode_reading(5, 4, "k3f9"), T_NS), "a bug"), (Kept(TOPIC, b"sixty", T_NS), "json: is none")]
    )
    return path


def run(data: Path, *words: str, **environment: str) -> Result:
    """Run `pinloop deadletter`."""
    env = {"PINLOOP_DATA_DIR": str(data), **environment}
    return CliRunner().invoke(main, ["deadletter", *words], env=env)


def ids(data: Path) -> list[str]:
    """Return the ids of the letters."""
    return [one["id"] for one in json.loads(run(data, "list", "--json").output)["letters"]]


def mend(data: Path) -> None:
    """Let the store take the value."""
    with sqlite3.connect(data / "store.db") as connection:
        connection.execute("DROP TRIGGER no")


def stored(data: Path) -> list[tuple[int, float]]:
    """Return (n, value) of the stored readings."""
    with sqlite3.connect(data / "store.db") as connection:
        sql = (
            "SELECT ns.value, vs.value FROM samples ns JOIN series n ON n.id = ns.series AND n.field = 'n'"
            " JOIN series v ON v.field = 'pot' JOIN samples vs ON vs.series = v.id AND vs.ts_ns = ns.ts_ns ORDER BY 1"
        )
        return [(int(n), value) for n, value in connection.execute(sql)]


def test_letters_are_listed_and_shown(data: Path) -> None:
    """By ids that stay the same."""
    rows = [line.split("\t") for line in run(data, "list").output.splitlines()]
    assert [row[2:] for row in rows] == [
        ["main", TOPIC, "no such value"],
        ["main", TOPIC, "no such value"],
        ["decoder", TOPIC, "a bug"],
        ["decoder", TOPIC, "json: is none"],
    ]
    assert [row[0] for row in rows] == ids(data)
    assert json.loads(run(data, "show", rows[0][0]).output)["payload"] == "666"


def test_what_is_mended_is_stored_once_and_what_is_not_stays(data: Path) -> None:
    """Points at their own time, messages read anew; the nonsense is refused again and still there."""
    mend(data)
    result = run(data, "replay", "--all")
    assert result.exit_code == 1
    assert "3 stored, 1 refused again" in result.output
    assert stored(data) == [(1, 1.0), (2, 666.0), (3, 666.0), (4, 5.0)]
    assert [one.said["payload"] for one in dead_file.read(data / "dead-letters.jsonl")] == ["sixty"]


def test_what_is_not_mended_stays(data: Path) -> None:
    """The store refuses the points again: nothing is lost, the good one is stored."""
    result = run(data, "replay", "--all")
    assert "1 stored, 3 refused again" in result.output
    assert "no such value" in result.output
    assert len(ids(data)) == 3
    assert stored(data) == [(1, 1.0), (4, 5.0)]


def test_killed_between_storing_and_taking_out_it_stores_nothing_twice(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letters are still there; replaying them again changes nothing."""
    mend(data)
    with monkeypatch.context() as killed:
        killed.setattr("pinloop.deadletter._remove", lambda *_: 1 / 0)
        run(data, "replay", "--all")
    assert len(ids(data)) == 4
    once = stored(data)
    run(data, "replay", "--all")
    assert stored(data) == once == [(1, 1.0), (2, 666.0), (3, 666.0), (4, 5.0)]
    assert len(ids(data)) == 1


def test_a_store_that_is_away_takes_nothing_out_of_the_file(data: Path) -> None:
    """One sentence, exit code 1."""
    result = run(data, "replay", "--all", PINLOOP_STORE_URL="http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "Nothing was taken out" in result.output
    assert len(ids(data)) == 4


def test_letters_of_a_second_store_go_to_it(data: Path, tmp_path: Path) -> None:
    """And stay, when there is no such store any more."""
    DeadLetters(data / "dead-letters.jsonl").add_points("copy", [(point(9), None, "no")])
    name = ids(data)[-1]
    assert "none of second_stores" in run(data, "replay", name).output
    copy = tmp_path / "copy.db"
    assert run(data, "replay", name, PINLOOP_SECOND_STORES=f"copy=sqlite:{copy}").exit_code == 0
    assert SqliteStore(copy).devices() == ["pot"]
    assert name not in ids(data)


def test_letters_are_dropped_by_id_while_the_listener_adds_others(data: Path) -> None:
    """The file is changed under a lock, whole."""
    first, *others = ids(data)
    assert run(data, "drop", first).output == "1 dropped\n"
    DeadLetters(data / "dead-letters.jsonl").add_points("main", [(point(9), None, "no")])
    assert ids(data)[:-1] == others
    assert run(data, "drop", "--all").output == "4 dropped\n"
    assert ids(data) == []


@pytest.mark.parametrize("words", [("drop",), ("replay",), ("drop", "--all", "12345678")])
def test_letters_are_named_or_all(data: Path, words: tuple[str, ...]) -> None:
    """Neither or both is wrong usage."""
    assert run(data, *words).exit_code == 2
    assert len(ids(data)) == 4


def test_an_unknown_letter_is_said(data: Path) -> None:
    """With the file that was looked into."""
    result = run(data, "show", "12345678")
    assert result.exit_code == 1
    assert "there is no letter '12345678' in " in result.output
