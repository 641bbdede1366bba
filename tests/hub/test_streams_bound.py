"""The bound on event streams, and hubs that do not start."""

from pathlib import Path

import pytest

from tests.hub.running import running_hub
from tests.hub.test_hub_api import Stream
from tests.support.processes import start
from tests.support.wait import until


def test_streams_beyond_the_bound_are_refused_while_the_rest_still_answers(tmp_path: Path) -> None:
    """503 with what to do instead; a place that becomes free is found again."""
    with running_hub(tmp_path, {"PINLOOP_EVENT_STREAMS_MAX": "2"}) as hub:
        open_streams = [Stream(hub), Stream(hub)]
        refused = Stream(hub)
        assert (refused.status, b"every event stream is taken" in refused.answer.read()) == (503, True)
        assert hub.get("/")[0] == 200
        for stream in open_streams:
            stream.close()
        again = until(lambda: next((one for one in [Stream(hub)] if one.status == 200), None), 15, every_s=0.2)
        again.close()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "console_password"),
        (["--console-password=x", "--store-url=ftp://x"], "store_url"),
        (["--console-password=x", "--event-streams-max=0"], "event-streams-max"),
    ],
)
def test_it_does_not_start_with_settings_that_cannot_work(tmp_path: Path, flags: list[str], text: str) -> None:
    """One clear line and exit code 2."""
    child = start(["python", "-m", "hub", *flags], tmp_path / "out")
    assert child.wait(10) == 2
    assert text in child.text()
    assert child.text().count("\n") == 1
