"""Gateways: who may post what, in whatever form it comes; answered when it is safe, never 500."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inputs.declared import parse
from inputs.gateway.accounts import hashed
from inputs.gateway.decode import TOPIC
from listener.gateway_api import GatewayApi
from listener.gateway_items import single_of, sort
from listener.handover import Handed, Handover
from listener.queue import Queue
from tests.inputs.test_polling import Store
from tests.support.wait import until

GATEWAYS = parse(
    f'[gateways.roof]\nname = "gw"\ntoken_sha256 = "{hashed("roof-token")}"\n'
    'devices = {"aa:bb" = "bed-1", "cc" = "bed-2"}\n'
    f'[gateways.cellar]\ntoken_sha256 = "{hashed("cellar-token")}"\ndevices = ["dd"]\n'
).gateways


ROOF = "roof-token"


class Desk:
    """The application, and what came to the store."""

    def __init__(self) -> None:
        self.queue = Queue(1 << 20)
        self.store: Store | None = None
        self.now_s = 0.0
        self.app = GatewayApi(GATEWAYS, Handover(self.queue), clock=lambda: self.now_s)

    def open(self) -> "Desk":
        """Let the store take what is queued."""
        self.store = Store(self.queue)
        return self

    def stored(self) -> list[Any]:
        """Return the messages that came to the store."""
        assert self.store is not None
        return [json.loads(one.payload) for one in self.store.messages]

    def post(self, body: object, path: str = "/telemetry", token: str = ROOF, method: str = "POST") -> tuple[int, Any]:
        """Return (status, answer)."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        said: list[str] = []
        environ = {
            "PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.input": io.BytesIO(sent),
            "HTTP_AUTHORIZATION": token if " " in token else f"Bearer {token}",
        }  # fmt: skip
        answer = self.app(environ, lambda status, _headers: said.append(status))
        return int(said[0].split()[0]), json.loads(b"".join(answer))


@pytest.fixture
def desk() -> Iterator[Desk]:
    """An application with a store behind it."""
    made = Desk().open()
    yield made
    made.queue.close()


def batch(*items: object) -> dict[str, object]:
    """Return the body of a request."""
    return {"name": "gw", "data": list(items)}


def test_known_devices_are_stored_and_unknown_ones_are_told(desk: Desk) -> None:
    """What is wrong with one item costs no other one."""
    item = {"temperature": 30, "timestamp": 2696, "name": "aa:bb"}
    said = desk.post(batch(item, {"name": "who", "x": 1}, {"name": "who", "x": 2}, {"name": "cc"}, [], {"x": 1}))
    assert said[0] == 200
    assert said[1]["stored"] == 1
    assert said[1]["unknown"] == ["who"]
    assert [(one["index"], one["error"]) for one in said[1]["rejected"]] == [
        (3, "has no number"),
        (4, "is not a JSON object"),
        (5, "has no name"),
    ]
    assert desk.stored() == [{"bed-1": [item]}]


def test_the_order_of_keys_means_nothing(desk: Desk) -> None:
    """`data` before `name`, values before the name of the item."""
    body = b'{"data":[{"humidity":4,"timestamp":1,"name":"cc"}],"name":"gw"}'
    assert desk.post(body)[1]["stored"] == 1
    assert desk.post({"humidity": 4, "name": "cc"}, "/device/")[1]["stored"] == 1


@pytest.mark.parametrize(
    ("body", "path", "token", "method", "status"),
    [
        (b"", "/telemetry", "roof-token", "POST", 400),
        (b"{", "/telemetry", "roof-token", "POST", 400),
        (b"[]", "/telemetry", "roof-token", "POST", 400),
        (b"\xff", "/telemetry", "roof-token", "POST", 400),
        (b"{}", "/telemetry", "roof-token", "POST", 400),
        (b'{"name":"gw"}', "/telemetry", "roof-token", "POST", 400),
        (b'{"name":"other","data":[]}', "/telemetry", "roof-token", "POST", 400),
        (b'{"data":[]}', "/telemetry", "cellar-token", "POST", 200),
        (b'{"name":"gw","data":[]}', "/telemetry", "roof", "POST", 401),
        (b'{"name":"gw","data":[]}', "/telemetry", "", "POST", 401),
        (b'{"name":"gw","data":[]}', "/telemetry", "Basic !!!", "POST", 401),
        (b"", "/telemetry", "roof-token", "GET", 405),
        (b"", "/elsewhere", "roof-token", "POST", 404),
        (b"[" * 100000, "/device", "roof-token", "POST", 400),
    ],
)
def test_a_request_that_says_nothing_is_answered_with_why(
    desk: Desk, body: bytes, path: str, token: str, method: str, status: int
) -> None:
    """In words, and never 500."""
    answered, said = desk.post(body, path, token, method)
    assert answered == status
    assert ("error" in said) == (status != 200)
    assert desk.stored() == []


def test_the_token_may_come_as_a_password(desk: Desk) -> None:
    """Some HTTP clients of gateways know nothing else."""
    basic = "Basic " + base64.b64encode(b"roof:roof-token").decode()
    assert desk.post(batch({"name": "cc", "x": 1}), token=basic)[0] == 200


def test_a_gateway_speaks_for_its_own_devices_only(desk: Desk) -> None:
    """Another gateway's device is unknown to it."""
    assert desk.post(batch({"name": "dd", "x": 1}))[1]["unknown"] == ["dd"]


def test_it_is_answered_when_it_is_safe_and_the_same_again_is_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 while the store takes nothing; the gateway sends it again, during and after."""
    monkeypatch.setattr("listener.gateway_api._SAFE_S", 0.05)
    desk = Desk()
    body = batch({"name": "cc", "x": 1, "timestamp": 5})
    assert desk.post(body)[0] == 503
    assert desk.post(body)[0] == 503
    desk.open()
    until(lambda: desk.post(body)[0] == 200)
    assert desk.post(body)[0] == 200
    assert len(desk.stored()) == 1
    desk.now_s = 601
    assert desk.post(body)[0] == 200
    assert len(desk.stored()) == 2
    desk.queue.close()


def test_the_same_value_a_minute_later_is_another_reading(desk: Desk) -> None:
    """Without a time in it nothing else tells two readings of a steady sensor apart."""
    for minute in range(3):
        desk.now_s = minute * 60
        assert desk.post({"name": "cc", "x": 1}, "/device")[1]["stored"] == 1
    assert len(desk.stored()) == 3


@pytest.mark.parametrize("never", [0, "1970-01-01T00:00:00Z"])
def test_a_clock_that_was_never_set_tells_no_time(desk: Desk, never: object) -> None:
    """The same zero with each reading: the second of a steady sensor was taken for the first one, and lost."""
    for minute in range(3):
        desk.now_s = minute * 60
        assert desk.post({"name": "cc", "x": 1, "timestamp": never}, "/device")[1]["stored"] == 1
    assert len(desk.stored()) == 3


def test_what_found_no_room_is_queued_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message of the request once."""
    monkeypatch.setattr("listener.gateway_api._SAFE_S", 0.05)
    desk = Desk()
    desk.queue = Queue(400)
    desk.app = GatewayApi(GATEWAYS, Handover(desk.queue), clock=lambda: 0)
    body = batch({"name": "cc", "x": 1}, {"name": "aa:bb", "x": 2})
    assert desk.post(body)[0] == 503
    desk.open()
    until(lambda: desk.post(body)[0] == 200)
    assert sorted(str(one) for one in desk.stored()) == sorted(
        str(one) for one in ({"bed-1": [{"name": "aa:bb", "x": 2}]}, {"bed-2": [{"name": "cc", "x": 1}]})
    )
    desk.queue.close()


def test_a_store_that_is_away_leaves_threads_for_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond four waiting requests the answer is 503 at once."""
    monkeypatch.setattr("listener.gateway_api._SAFE_S", 5.0)
    desk = Desk()
    answers: list[int] = []
    waiting = [
        threading.Thread(target=lambda n=n: answers.append(desk.post(batch({"name": "cc", "x": n}))[0]))
        for n in range(4)
    ]
    for thread in waiting:
        thread.start()
    until(lambda: not desk.app._waiting.acquire(blocking=False) or desk.app._waiting.release(), 5, "four wait")  # type: ignore[func-returns-value]
    assert desk.post(batch({"name": "cc", "x": 9}))[0] == 503
    desk.open()
    for thread in waiting:
        thread.join(5)
    assert answers == [200] * 4
    desk.queue.close()


def test_a_long_request_comes_in_messages_that_the_listener_reads(desk: Desk) -> None:
    """Every item once."""
    items = [{"name": "cc", "x": number, "pad": "x" * 200} for number in range(1000)]
    assert desk.post(batch(*items))[1]["stored"] == 1000
    assert desk.store is not None
    assert all(isinstance(one, Handed) and one.topic == TOPIC for one in desk.store.messages)
    assert max(len(one.payload) for one in desk.store.messages) <= 65536
    assert [item["x"] for message in desk.stored() for item in message["bed-2"]] == list(range(1000))


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["aa:bb", "cc"])
)
THINGS = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "data", "timestamp", "x", ""]), inner)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=30) | THINGS.map(lambda thing: json.dumps(thing).encode()) | THINGS.map(
    lambda thing: json.dumps({"name": "gw", "data": [thing, {"name": "cc", "x": thing}]}).encode()
), st.sampled_from(["/telemetry", "/device"]))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_whatever_is_posted_is_answered_and_never_500(desk: Desk, body: bytes, path: str) -> None:
    """And what is called stored is what the store got."""
    status, said = desk.post(body, path)
    assert status in (200, 400)
    assert desk.store is not None
    count = sum(len(items) for message in desk.stored() for items in message.values())
    assert count >= said.get("stored", 0)


def test_an_item_is_sorted_by_its_name() -> None:
    """Pure: the same everywhere."""
    found = sort(single_of(b'{"name":"aa:bb","x":1}'), GATEWAYS[0])
    assert (found.known, found.stored) == ({"bed-1": [{"name": "aa:bb", "x": 1}]}, 1)


def test_a_listener_without_gateways_says_how_one_is_declared() -> None:
    """A newcomer's first POST: 404 with the command and the setting, whatever the token."""
    nobody = Desk()
    nobody.app = GatewayApi((), Handover(nobody.queue))
    for path in ("/telemetry", "/device"):
        status, said = nobody.post(batch(), path)
        assert status == 404
        assert "pinloop gateway add" in said["error"]
        assert "inputs_path" in said["error"]
    assert "POST /telemetry" in nobody.post(batch(), "/elsewhere")[1]["error"]
