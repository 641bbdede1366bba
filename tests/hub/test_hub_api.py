"""The REST API of a running hub, with real broker, webhook and store."""

import base64
import http.client
import json
import time
from collections.abc import Iterator

import pytest

from tests.hub.running import PASSWORD, Board, RunningHub
from tests.support.wait import until


def until_pin(hub: RunningHub, name: str, **wanted: object) -> None:
    """Wait until /api/pins shows the pin with the wanted desired and reported values."""
    device, pin = name.split("/")

    def shown() -> bool:
        found = {(one["device"], one["pin"]): one for one in hub.get("/api/pins")[1]["pins"]}[device, pin]
        return all((found[key] or {}).get("value") == value for key, value in wanted.items())

    until(shown, 5, f"{name} with {wanted}")


def test_a_device_is_listed_with_its_status_and_last_readings(hub: RunningHub, pot: Board) -> None:
    """Value, unit and time of each sensor, as they come."""
    pot.send("reading/pot", {"v": 61.5, "n": 1, "b": "k3f9"})
    device = until(lambda: [d for d in hub.get("/api/devices")[1]["devices"] if d["readings"].get("pot")])[0]
    assert (device["device"], device["status"], device["info"]["chip"]) == ("pot", "online", "esp32")
    assert (device["readings"]["pot"]["value"], device["readings"]["pot"]["unit"]) == (61.5, "%")
    assert abs(device["readings"]["pot"]["t_s"] - time.time()) < 5
    assert hub.get("/api/devices/pot")[1]["device"] == "pot"


def test_an_unknown_device_is_said_to_be_unknown(hub: RunningHub) -> None:
    """404 for a good id, 400 for none."""
    assert hub.get("/api/devices/nobody")[0] == 404
    assert hub.get("/api/devices/No.Body")[0] == 400


def test_a_retained_reading_is_not_taken_for_a_new_one(hub: RunningHub, pot: Board) -> None:
    """Its age is unknown, so it says nothing about now."""
    pot.send("reading/kept", "7", retain=True)
    pot.send("reading/pot", "8")
    until(lambda: hub.get("/api/devices/pot")[1]["readings"]["pot"]["value"] == 8)
    hub.hub.end()
    hub.start_hub()
    until(lambda: hub.get("/api/devices/pot")[0] == 200, 15)
    pot.send("reading/pot", "9")
    until(lambda: hub.get("/api/devices/pot")[1]["readings"].get("pot", {}).get("value") == 9)
    assert "kept" not in hub.get("/api/devices/pot")[1]["readings"]


def test_history_comes_from_the_store(hub: RunningHub) -> None:
    """The readings of the last seconds, oldest first, and none of before."""
    now_s = time.time()
    hub.remember("cellar", "humidity", [(now_s - 500, 40), (now_s - 30, 41), (now_s - 20, 42)])
    status, found, _ = hub.get("/api/readings/cellar/humidity?since_s=60")
    assert status == 200
    assert [value for _, value in found["points"]] == [41, 42]


def test_what_the_store_remembers_fills_the_gap_after_a_start(hub: RunningHub) -> None:
    """A device that is heard of shows its last stored reading with that reading's own time."""
    now_s = time.time()
    hub.remember("attic", "temperature", [(now_s - 900, 21.5)])
    attic = Board(hub.broker, "attic", {"sensors": {"temperature": {"unit": "°C"}}, "pins": {}})
    found = until(lambda: hub.get("/api/devices/attic")[1].get("readings"), 10)
    attic.client.close()
    assert (found["temperature"]["value"], round(found["temperature"]["t_s"])) == (21.5, round(now_s - 900))


def test_readings_that_do_not_pass_our_topics_come_from_the_store(hub: RunningHub) -> None:
    """Those of other firmware and of gateways: shown, followed, and nothing that is days old."""
    now_s = time.time()
    hub.remember("plug", "power", [(now_s - 20, 7)])
    hub.remember("shed", "power", [(now_s - 3 * 86400, 7)])
    until(lambda: "plug" in {one["device"] for one in hub.get("/api/devices")[1]["devices"]}, 10)
    hub.remember("plug", "power", [(now_s, 8)])
    until(lambda: hub.get("/api/devices/plug")[1]["readings"]["power"]["value"] == 8, 10)
    assert hub.get("/api/devices/shed")[0] == 404


def test_a_manual_claim_reaches_the_device_and_can_be_released(hub: RunningHub, lights: Board) -> None:
    """PUT is forwarded to the webhook, the device obeys, why says who; DELETE withdraws."""
    lights.report("red", 0, why="boot")
    until_pin(hub, "lights/red", reported=0)
    status, found, _ = hub.call("PUT", "/api/pins/lights/red", {"value": 1, "for": "15m", "by": "anna"})
    assert (status, found["desired"]["value"], found["desired"]["slot"]) == (200, 1, "manual")
    lights.obey("red", 1)
    until_pin(hub, "lights/red", desired=1, reported=1)
    why = hub.get("/api/pins/lights/red/why")[1]
    assert "anna" in why["text"]
    assert why["claims"][0]["source"] == "anna"
    assert hub.call("DELETE", "/api/pins/lights/red")[1]["desired"] is None
    assert "withdrawn by console" in hub.get("/api/pins/lights/red/why")[1]["text"]


def test_a_claim_of_the_console_says_so(hub: RunningHub, lights: Board) -> None:
    """Without `by` the claim is the console's."""
    until(lambda: hub.call("PUT", "/api/pins/lights/green", {"value": 1})[0] == 200)
    assert hub.get("/api/pins/lights/green/why")[1]["claims"][0]["source"] == "console"
    hub.call("DELETE", "/api/pins/lights/green")


@pytest.mark.parametrize(
    "body", [b"", b"1", b"{", {"value": 7}, {"value": 1, "for": "soon"}, {"value": 1, "for": "48h"}]
)
def test_a_bad_claim_is_refused_with_the_reason(hub: RunningHub, lights: Board, body: object) -> None:
    """400 and what is wrong."""
    until(lambda: "red" in hub.get("/api/devices/lights")[1]["info"]["pins"])
    until(lambda: hub.get("/api/pins/lights/red/why")[0] == 200)
    status, found, _ = hub.call("PUT", "/api/pins/lights/red", body, headers={"Content-Type": "application/json"})
    assert status == 400
    assert ":" in found["error"]


def test_firing_alerts_are_listed(hub: RunningHub, lights: Board) -> None:
    """As the webhook knows them."""
    hub.alert("firing", "lights/red=1")
    assert [one["status"] for one in hub.get("/api/alerts")[1]["alerts"] if one["name"] == "too-bright"] == ["firing"]
    hub.alert("resolved", "lights/red=1")
    assert [one["status"] for one in hub.get("/api/alerts")[1]["alerts"] if one["name"] == "too-bright"] != ["firing"]


def test_the_history_of_pins_holds_what_was_reported(hub: RunningHub, lights: Board) -> None:
    """The states of the last minutes, for the chart."""
    lights.report("green", 0)
    lights.report("green", 1)

    def values() -> list[float]:
        pins = hub.get("/api/pins/history?since_s=600")[1]["pins"]
        return [value for one in pins if one["pin"] == "green" for _, value in one["states"]][-2:]

    until(lambda: values() == [0, 1])
    lights.report("green", 0)


def test_the_console_says_when_the_webhook_is_away_and_when_it_is_back(hub: RunningHub, lights: Board) -> None:
    """The page still works; pins and alerts answer 503 with the reason."""
    hub.webhook.end()
    until(lambda: "No connection from the hub to the webhook" in hub.get("/")[1], 5)
    assert "nobody knows whether an alert fires" in hub.get("/part/alerts")[1]
    status, found, _ = hub.get("/api/pins")
    assert status == 503
    assert "does not answer" in found["error"]
    assert "webhook" in hub.get("/readyz", user="")[1]["problems"]
    hub.start_webhook()
    until(lambda: hub.get("/readyz", user="")[0] == 200, 15)
    until(lambda: "No connection from the hub" not in hub.get("/")[1], 5)


class Stream:
    """An open event stream."""

    def __init__(self, hub: RunningHub, last: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=6)
        word = base64.b64encode(f"owner:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {word}", "Accept": "text/event-stream", "Last-Event-ID": last}
        self.connection.request("GET", "/api/events", headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def close(self) -> None:
        """Close the socket, which the response holds open too."""
        self.answer.close()
        self.connection.close()

    def until(self, kind: str) -> tuple[str, dict[str, object]]:
        """Return (id, data) of the next event of `kind`; the socket's time-out is the deadline."""
        event, event_id = "", ""
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "id":
                event_id = value
            elif name == "data" and event == kind:
                return event_id, json.loads(value)


@pytest.fixture
def streams(hub: RunningHub) -> Iterator[list[Stream]]:
    """A list whose streams are closed at the end."""
    opened: list[Stream] = []
    yield opened
    for stream in opened:
        stream.close()


def test_a_reading_is_streamed_as_it_comes(hub: RunningHub, pot: Board, streams: list[Stream]) -> None:
    """The stream begins with the hub's time and goes on with what changes."""
    pot.send("reading/pot", "1")
    until(lambda: hub.get("/api/devices/pot")[1]["readings"])
    streams.append(Stream(hub))
    assert abs(float(str(streams[0].until("ping")[1]["now_s"])) - time.time()) < 5
    pot.send("reading/pot", "64.25")
    # The one before may just be on its way.
    assert 64.25 in (streams[0].until("reading")[1]["value"] for _ in range(2))


def test_a_stream_goes_on_where_the_client_was(hub: RunningHub, pot: Board, streams: list[Stream]) -> None:
    """Last-Event-ID brings what was missed; an id of another hub asks to start again."""
    pot.send("reading/pot", "1")
    until(lambda: hub.get("/api/devices/pot")[1]["readings"]["pot"]["value"] == 1)
    streams.append(Stream(hub))
    pot.send("reading/pot", "2")
    last, _ = streams[0].until("reading")
    streams[0].close()
    pot.send("reading/pot", "3")
    streams.append(Stream(hub, last))
    assert streams[1].until("reading")[1]["value"] == 3
    streams.append(Stream(hub, "abc-7"))
    assert streams[2].until("reset")[1] == {}


def test_polling_gives_the_same_events(hub: RunningHub, pot: Board) -> None:
    """For pages that got no stream."""
    json_wanted = {"Accept": "application/json"}
    last = hub.get("/api/events", headers=json_wanted)[1]["last"]
    pot.send("reading/pot", "5")
    pot.send("reading/pot", "6")
    found = until(
        lambda: [
            one
            for one in hub.get(f"/api/events?last={last}", headers=json_wanted)[1]["events"]
            if one["kind"] == "reading"
        ][1:]
    )
    assert found[-1]["value"] == 6
    assert hub.get("/api/events?last=abc-7", headers=json_wanted)[1]["reset"] is True


def test_metrics_count_what_came_in(hub: RunningHub, pot: Board) -> None:
    """Good messages, and refused ones by reason."""
    pot.send("status", "perhaps", retain=False)
    until(lambda: 'hub_messages_refused_total{reason="status"}' in hub.get("/metrics", user="")[1])
    assert "hub_messages_total" in hub.get("/metrics", user="")[1]


def test_it_stops_cleanly_with_a_stream_open(hub: RunningHub, streams: list[Stream]) -> None:
    """SIGTERM ends the streams and the process, exit code 0."""
    streams.append(Stream(hub))
    streams[0].until("ping")
    assert hub.hub.end() == 0
    hub.start_hub()
    until(lambda: hub.get("/healthz", user="")[0] == 200, 15)
