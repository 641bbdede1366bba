"""The spool on real files: what survives, what is passed over, what is counted. Records are short texts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from listener.spool import Spool, SpoolError
from listener.spool_segment import HEAD as HEAD_BYTES
from listener.spool_segment import framed

MB = 1 << 20
HEAD = 8  # bytes before the first record of a segment
FRAME = 24  # bytes of a record beside its body


def opened(path: Path, max_bytes: int = MB, max_age_s: float = 3600) -> Spool:
    """Return a spool with the reader `main`."""
    spool = Spool(path, max_bytes, max_age_s)
    spool.add_reader("main", required=True, from_start=True)
    return spool


def bodies(spool: Spool, name: str = "main") -> list[bytes]:
    """Return the bodies of all that a reader has to read, and note them as read."""
    found: list[bytes] = []
    while records := spool.read(name, 1, spool.end):
        found += [record.body for record in records]
        spool.advance(name, records[-1].end)
    return found


def filled(spool: Spool, says: str) -> list[bytes]:
    """Append until the spool refuses with these words; return what it took."""
    written: list[bytes] = []
    while True:
        body = os.urandom(10_000)
        try:
            spool.append(body, 1)
        except SpoolError as error:
            assert says in str(error)  # noqa: PT017  (the refusal comes some time)
            return written
        written.append(body)


def dropped(reason: str, store: str = "main") -> float:
    """Return how many points were counted as dropped."""
    labels = {"store": store, "reason": reason}
    return REGISTRY.get_sample_value("listener_spool_dropped_points_total", labels) or 0


def segments(path: Path) -> list[Path]:
    """Return the files of a spool."""
    return sorted(path.glob("*.spool"))


def test_records_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    """Also while more are appended; a reader that stopped in the middle goes on there."""
    spool = opened(tmp_path)
    for n in range(10):
        spool.append(b"%d" % n, 1)
    assert [record.body for record in spool.read("main", 3, spool.end)] == [b"0", b"1", b"2"]
    spool.advance("main", spool.read("main", 3, spool.end)[-1].end)
    spool.close()

    again = opened(tmp_path)
    again.append(b"10", 1)
    assert bodies(again) == [b"%d" % n for n in range(3, 11)]
    assert bodies(again) == []


def test_without_its_cursor_a_reader_begins_at_the_oldest_record(tmp_path: Path) -> None:
    """A power cut may take the cursor: points that come twice replace themselves, lost ones do not come back."""
    spool = opened(tmp_path)
    spool.append(b"a", 1)
    assert bodies(spool) == [b"a"]
    spool.close()
    (tmp_path / "main.cursor").write_bytes(b"\0\0\0")
    assert bodies(opened(tmp_path)) == [b"a"]


def test_what_every_reader_has_passed_is_deleted(tmp_path: Path) -> None:
    """A slow one keeps it, a fast one does not wait."""
    spool = opened(tmp_path)
    spool.add_reader("slow", required=False, from_start=False)
    for _ in range(20):
        spool.append(os.urandom(30_000), 1)
    assert len(bodies(spool)) == 20
    assert len(segments(tmp_path)) > 5
    assert len(bodies(spool, "slow")) == 20
    assert len(segments(tmp_path)) <= 1
    assert spool.behind_bytes("slow") == 0


def test_a_reader_that_is_new_begins_with_what_comes(tmp_path: Path) -> None:
    """And keeps its place from then on, also when it was killed before it read anything."""
    spool = opened(tmp_path)
    spool.append(b"old", 1)
    spool.close()
    spool = opened(tmp_path)
    spool.add_reader("new", required=False, from_start=False)
    spool.append(b"fresh", 1)
    again = opened(tmp_path)  # no close: as after SIGKILL
    again.add_reader("new", required=False, from_start=False)
    assert bodies(again, "new") == [b"fresh"]
    assert bodies(again) == [b"old", b"fresh"]


@pytest.mark.parametrize("kept", range(1, FRAME + 4))
def test_a_torn_tail_is_passed_over(tmp_path: Path, kept: int) -> None:
    """Cut at every byte of the last record: it was never acknowledged; those before and after it are whole."""
    spool = opened(tmp_path)
    spool.append(b"whole", 1)
    end = spool.append(b"torn", 7)
    spool.close()
    os.truncate(segments(tmp_path)[0], end - (FRAME + 4) + kept)

    again = opened(tmp_path)
    before = dropped("torn")
    again.append(b"next", 1)
    assert bodies(again) == [b"whole", b"next"]
    assert dropped("torn") == before + 1


@settings(max_examples=150, deadline=None)
@given(bit=st.integers(0, (HEAD + 5 * (FRAME + 6)) * 8 - 1))
def test_a_flipped_bit_costs_at_most_its_record(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    """Anywhere in the file, also in a length; the others come in order, and the loss is counted."""
    path = tmp_path_factory.mktemp("spool")
    spool = opened(path)
    for n in range(5):
        spool.append(b"body-%d" % n, 1)
    spool.close()
    data = bytearray(segments(path)[0].read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    segments(path)[0].write_bytes(data)
    if bit // 8 == HEAD - 1:  # the version
        version = data[HEAD - 1]
        if version > 1:
            with pytest.raises(SpoolError, match=f"is of format {version}, this version knows 1"):
                opened(path)
        return
    before = dropped("damaged") + dropped("torn")
    found = bodies(opened(path))
    whole = [b"body-%d" % n for n in range(5)]
    hit = (bit // 8 - HEAD) // (FRAME + 6)
    assert found == (whole if bit // 8 < HEAD else whole[:hit] + whole[hit + 1 :])
    assert dropped("damaged") + dropped("torn") == before + (bit // 8 >= HEAD)


class Clocks:
    """A monotonic clock that a test moves, and a wall clock that it sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_s = 1000.0
        self.wall_s = 1.79e9
        monkeypatch.setattr("time.monotonic_ns", lambda: int(self.passed_s * 1e9))
        monkeypatch.setattr("time.time_ns", lambda: int((self.wall_s + self.passed_s) * 1e9))


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks that a spool sees."""
    return Clocks(monkeypatch)


DAYS_S = 86400.0


def test_records_that_waited_too_long_are_dropped_and_counted(tmp_path: Path, clocks: Clocks) -> None:
    """By the points that they held."""
    spool = opened(tmp_path, max_age_s=100)
    for body in (b"old", b"old", b"new"):
        spool.append(body, 5)
        clocks.passed_s += 70
    before = dropped("age")
    assert bodies(spool) == [b"new"]
    assert dropped("age") == before + 10


@pytest.mark.parametrize("step_s", [10 * DAYS_S, -10 * DAYS_S, 20000 * DAYS_S])
def test_a_clock_that_is_set_makes_no_record_old(tmp_path: Path, clocks: Clocks, step_s: float) -> None:
    """Ten days behind (or in 1970), then NTP: records of before and after it are seconds old, and still get older."""
    clocks.wall_s -= step_s
    spool = opened(tmp_path, max_age_s=7 * DAYS_S)
    spool.append(b"before", 1)
    clocks.wall_s += step_s
    clocks.passed_s += 5
    spool.append(b"after", 1)
    before = dropped("age")
    assert [record.body for record in spool.read("main", 9, spool.end)] == [b"before", b"after"]
    assert dropped("age") == before
    clocks.passed_s += 8 * DAYS_S
    assert bodies(spool) == []
    assert dropped("age") == before + 2


@pytest.mark.parametrize("uptime_s", [3.0, 1000.0, 1e7])
def test_what_a_restart_finds_is_as_old_as_it_waited_in_running_listeners(
    tmp_path: Path, clocks: Clocks, uptime_s: float
) -> None:
    """The clock was set between two starts, or nothing ran for a month; the machine's uptime begins anew."""
    spool = opened(tmp_path, max_age_s=7 * DAYS_S)
    spool.append(b"first", 1)
    clocks.passed_s += 5 * DAYS_S
    spool.append(b"second", 1)
    spool.close()
    clocks.passed_s, clocks.wall_s = uptime_s, clocks.wall_s + 30 * DAYS_S

    again = opened(tmp_path, max_age_s=7 * DAYS_S)
    again.append(b"third", 1)
    assert [record.body for record in again.read("main", 9, again.end)] == [b"first", b"second", b"third"]
    clocks.passed_s += 3 * DAYS_S
    before = dropped("age")
    assert bodies(again) == [b"second", b"third"]
    assert dropped("age") == before + 1


def test_a_record_that_says_1970_has_no_age(tmp_path: Path) -> None:
    """Written by an earlier version while the clock was not set yet, and the next one when it was."""
    path = tmp_path / f"{0:020}.spool"
    path.write_bytes(HEAD_BYTES + framed(b"1970", 1, 10**9) + framed(b"set", 1, time.time_ns()))
    assert bodies(opened(tmp_path)) == [b"1970", b"set"]


def test_a_full_spool_refuses_and_takes_again_when_it_is_read(tmp_path: Path) -> None:
    """Nothing that the main store lacks is ever dropped for room."""
    spool = opened(tmp_path, max_bytes=200_000)
    written = len(filled(spool, "is full (200000 bytes)"))
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 200_000
    assert written >= 15
    assert len(bodies(spool)) == written
    spool.append(b"more", 1)
    assert bodies(spool) == [b"more"]


def test_a_second_store_that_is_dead_loses_the_oldest_and_holds_nobody_back(tmp_path: Path) -> None:
    """Counted by the points."""
    spool = opened(tmp_path, max_bytes=200_000)
    spool.add_reader("dead", required=False, from_start=False)
    before = dropped("bytes", "dead")
    for n in range(100):
        spool.append(b"%d " % n + os.urandom(10_000), 2)
        assert len(bodies(spool)) == 1
    left = [int(body.split()[0]) for body in bodies(spool, "dead")]
    assert left == list(range(100 - len(left), 100))
    assert 5 < len(left) < 20
    assert dropped("bytes", "dead") - before == 2 * (100 - len(left))


def test_a_later_format_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """After a downgrade: rather no start than readings that are lost."""
    (tmp_path / f"{0:020}.spool").write_bytes(b"PLSPOOL\x02later")
    with pytest.raises(SpoolError, match="is of format 2, this version knows 1"):
        opened(tmp_path)


def test_a_full_disk_refuses_and_what_was_written_is_whole(small_disk: Path) -> None:
    """On a real full file system; with room again it takes again."""
    spool = opened(small_disk / "spool", max_bytes=64 * MB)
    (small_disk / "else").write_bytes(bytes(500_000))
    written = filled(spool, "No space left on device")
    assert filled(spool, "No space left on device") == []
    (small_disk / "else").unlink()
    spool.append(b"again", 1)
    spool.close()
    assert bodies(opened(small_disk / "spool")) == [*written, b"again"]


def test_a_full_disk_costs_the_second_stores_the_oldest_while_the_main_one_is_current(small_disk: Path) -> None:
    """Every record is taken, by one segment or many; what the main store lacks is never dropped.

    Nor is the segment in which that begins: of large ones less room is found for the main store.
    """
    for max_bytes, least in ((64 * MB, 1), (2 * MB, 50)):
        folder = small_disk / f"{max_bytes}"
        spool = opened(folder, max_bytes=max_bytes)
        spool.add_reader("lags", required=False, from_start=False)
        before = dropped("disk", "lags")
        for n in range(300):
            spool.append(b"%d " % n + os.urandom(10_000), 2)
            assert len(bodies(spool)) == 1
        lost = (dropped("disk", "lags") - before) / 2
        assert 200 <= lost < 300
        written = filled(spool, "No space left on device")  # the main store reads no more
        assert len(written) >= least
        assert bodies(spool) == written
        assert bodies(spool, "lags")[-len(written) :] == written
        spool.append(b"again", 1)
        assert bodies(spool) == bodies(spool, "lags") == [b"again"]
        spool.close()
        for path in folder.iterdir():
            path.unlink()


def test_on_a_file_system_that_is_read_only_it_refuses_and_still_reads(small_disk: Path) -> None:
    """What is there goes to the store; the cursor stays in memory. Writable again, it takes again."""
    earlier = opened(small_disk)
    earlier.append(b"kept", 1)
    earlier.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    spool = opened(small_disk)
    with pytest.raises(SpoolError, match="Read-only file system"):
        spool.append(b"refused", 1)
    assert bodies(spool) == [b"kept"]
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    spool.append(b"again", 1)
    assert bodies(spool) == [b"again"]


def test_a_folder_that_cannot_be_made_refuses(tmp_path: Path) -> None:
    """A file is in the way, for anyone; when it is gone the spool takes."""
    (tmp_path / "spool").write_text("in the way")
    spool = opened(tmp_path / "spool")
    with pytest.raises(SpoolError, match="spool: File exists"):
        spool.append(b"1", 1)
    (tmp_path / "spool").unlink()
    spool.append(b"2", 1)
    assert bodies(spool) == [b"2"]


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one whose fsync fails, after which the kernel may have thrown the pages away: a new file is begun."""
    spool = opened(tmp_path)
    spool.append(b"1", 1)
    whole_fsync = os.fsync

    def failing(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(SpoolError, match="Input/output error"):
        spool.append(b"lost", 1)
    monkeypatch.setattr(os, "fsync", whole_fsync)
    spool.append(b"2", 1)
    assert len(segments(tmp_path)) == 2
    spool.close()
    assert bodies(opened(tmp_path)) == [b"1", b"2"]


_KILLED = """
import os, sys
from pathlib import Path
from listener.spool import Spool
spool = Spool(Path(sys.argv[1]), 1 << 20, 3600)
spool.add_reader("main", required=True, from_start=True)
for n in range(100000):
    spool.append(b"%d" % n, 1)
    os.write(1, b"%d\\n" % n)
"""


def test_a_record_that_was_appended_survives_a_kill(tmp_path: Path) -> None:
    """The process says each number only after `append` returned; all that it said are there."""
    process = subprocess.Popen([sys.executable, "-c", _KILLED, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(200)]
    process.kill()
    said += process.stdout.readlines()
    process.wait(5)
    said_last = int(next(line for line in reversed(said) if line.endswith(b"\n")))
    found = [int(body) for body in bodies(opened(tmp_path))]
    assert found == list(range(len(found)))
    assert len(found) > said_last
