"""Points as JSON lines on a pipe."""

import json
import os
import threading

from store.json_lines import JsonLinesSink
from store.points import Point


def test_a_pipe_that_does_not_wait_gets_each_line_once_and_whole() -> None:
    """Another program that shares the pipe has made it so: every write broke off, and began anew in mid-line."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    points = [Point("readings", (("device", f"d{number}"),), {"pot": 1.0}, number) for number in range(3000)]
    said = bytearray()

    def read() -> None:
        while part := os.read(reader, 4096):
            said.extend(part)

    reading = threading.Thread(target=read)
    reading.start()
    JsonLinesSink(writer).write(points)
    os.close(writer)
    reading.join(5)
    os.close(reader)
    assert [json.loads(line)["ts_ns"] for line in said.splitlines()] == list(range(3000))
