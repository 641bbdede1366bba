"""The spool's folder as it may be found: its cursors, and files that are none of it."""

from pathlib import Path

from listener.spool import Spool


def opened(path: Path) -> Spool:
    """Return the spool in a folder, read by the main store."""
    spool = Spool(path, 1 << 20, 3600)
    spool.add_reader("main", required=True, from_start=True)
    return spool


def waiting(spool: Spool) -> list[bytes]:
    """Return what the main store has yet to read."""
    return [record.body for record in spool.read("main", 100, spool.end)]


def half_read(path: Path) -> int:
    """Leave a spool of the records a and b, of which a was read; return the position after it."""
    spool = opened(path)
    for body in (b"a", b"b"):
        spool.append(body, 1)
    position = spool.read("main", 1, spool.end)[-1].end
    spool.advance("main", position)
    spool.close()
    return position


def test_a_flipped_bit_of_a_cursor_loses_nothing(tmp_path: Path) -> None:
    """One that was too far passed over all that waited, and deleted it."""
    half_read(tmp_path)
    written = (tmp_path / "main.cursor").read_bytes()
    for bit in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "main.cursor").write_bytes(flipped)
        assert waiting(opened(tmp_path)) in ([b"a", b"b"], [b"b"]), flipped


def test_the_cursor_of_an_earlier_version_counts(tmp_path: Path) -> None:
    """It was the position alone."""
    position = half_read(tmp_path)
    (tmp_path / "main.cursor").write_text(f"{position}\n")
    assert waiting(opened(tmp_path)) == [b"b"]


def test_a_file_that_somebody_left_there_is_not_of_the_spool(tmp_path: Path) -> None:
    """A copy with a name of its own: the listener did not start over it."""
    half_read(tmp_path)
    for name in ("copy.spool", "00000 copy.spool"):
        (tmp_path / name).write_bytes(b"x")
    assert waiting(opened(tmp_path)) == [b"b"]
