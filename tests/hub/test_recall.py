"""What the hub takes from the store."""

import time
from pathlib import Path

from hub.feed import Feed
from hub.live import Picture
from hub.recall import Recall
from store.points import Point
from store.sqlite import SqliteStore


def test_what_it_cannot_read_does_not_end_it(tmp_path: Path) -> None:
    """The next look takes the readings, and the hub is ready then."""

    class OnceOdd(SqliteStore):
        asked = 0

        def latest(self, device: str) -> dict[str, tuple[float, float]]:
            self.asked += 1
            if self.asked == 1:
                raise ValueError("odd")
            return super().latest(device)

    store = OnceOdd(tmp_path / "readings.db")
    store.write([Point("readings", (("device", "pot"),), {"pot": 61.5}, time.time_ns())])
    picture = Picture(Feed(time.time), time.time)
    recall = Recall(store, picture)

    recall.look()
    assert recall.problem == "ValueError: odd"
    recall.look()
    assert recall.problem is None
    assert [entry["device"] for entry in picture.devices()] == ["pot"]
    store.close()
