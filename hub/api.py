"""The REST API under /api/: what the console and the `pinloop` command use.

Devices and readings come from the picture and the store; pins, alerts and
explanations are the webhook's, asked at the moment of the request. Every error
is a JSON object {"error": text}.
"""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest, NotFound, ServiceUnavailable

from contract.topics import check_device, check_name
from hub.presence import presence
from hub.state import hub

__all__ = ["routes"]

_LONGEST_S = 31 * 86400
# About the width of a chart in pixels.
_MOST_POINTS = 600

routes = Blueprint("api", __name__, url_prefix="/api")


@routes.get("/devices")
def devices() -> Response:
    """Return every device with its last readings."""
    picture = hub().picture
    return jsonify(
        devices=picture.devices(),
        links=picture.links(),
        dead_letters=picture.dead_letters(),
        now_s=hub().clock(),
    )


@routes.get("/devices/<device>")
def device(device: str) -> Response:
    """Return one device."""
    found = hub().picture.device(check_device(device))
    if found is None:
        raise NotFound(f"device: '{device}' was never heard of")
    return jsonify(found)


@routes.get("/readings/<device>/<sensor>")
def readings(device: str, sensor: str) -> Response:
    """Return the readings of the last `since_s` seconds as [[t_s, value], ...]."""
    check_device(device)
    check_name(sensor, "sensor")
    length_s = _seconds(request.args.get("since_s", "600"))
    until_s = hub().clock()
    step_s = length_s / _MOST_POINTS
    points = hub().store.series(device, sensor, until_s - length_s, until_s, step_s)
    return jsonify(device=device, sensor=sensor, step_s=step_s, points=points)


@routes.get("/pins")
def pins() -> Response:
    """Return every pin with what is desired, what is reported, and whether that holds now."""
    return jsonify(pins=[{**pin, **_presence(pin)} for pin in hub().webhook.pins()])


@routes.get("/pins/history")
def pin_history() -> Response:
    """Return the values that each pin reported in the last `since_s` seconds, as far as this hub has seen them."""
    since_s = hub().clock() - _seconds(request.args.get("since_s", "600"))
    found = hub().picture.pin_history(since_s)
    return jsonify(pins=[{"device": key[0], "pin": key[1], "states": states} for key, states in sorted(found.items())])


@routes.get("/changes")
def changes() -> Response:
    """Return a page of the webhook's log of changes; the parameters are the webhook's."""
    return jsonify(hub().webhook.changes(request.args.to_dict()))


@routes.get("/pins/<device>/<pin>/why")
def why(device: str, pin: str) -> Response:
    """Return why a pin is what it is."""
    found = hub().webhook.why(check_device(device), check_name(pin, "pin"))
    return jsonify({**found, **_presence(found)})


@routes.put("/pins/<device>/<pin>")
def claim(device: str, pin: str) -> Response:
    """Put a manual claim on a pin: {"value": 1, "for": "30m"}."""
    wish = request.get_json(silent=True)
    if not isinstance(wish, dict):
        raise BadRequest('the body: is not a JSON object like {"value": 1, "for": "30m"}')
    answer = hub().webhook.claim(check_device(device), check_name(pin, "pin"), {"by": "console", **wish})
    hub().mirror.nudge()
    return jsonify(answer)


@routes.delete("/pins/<device>/<pin>")
def release(device: str, pin: str) -> Response:
    """Withdraw the manual claim of a pin; `?by=` says who asks."""
    by = request.args.get("by", "console")
    answer = hub().webhook.release(check_device(device), check_name(pin, "pin"), by)
    hub().mirror.nudge()
    return jsonify(answer)


@routes.get("/alerts")
def alerts() -> Response:
    """Return the firing alerts and the last resolved ones."""
    return jsonify(alerts=hub().webhook.alerts())


@routes.get("/events")
def events() -> Response:
    """Stream what changes; with `Accept: application/json` return at once what changed after `last`."""
    last_id = request.headers.get("Last-Event-ID") or request.args.get("last", "")
    streams = hub().streams
    if request.accept_mimetypes.best_match(["text/event-stream", "application/json"]) == "application/json":
        return jsonify(streams.poll(last_id))
    if not streams.open():
        raise ServiceUnavailable("every event stream is taken; ask every 2 s with Accept: application/json instead")
    response = Response(streams.stream(last_id), mimetype="text/event-stream")
    response.call_on_close(streams.close)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


def _presence(pin: dict[str, Any]) -> dict[str, Any]:
    picture, now_s = hub().picture, hub().clock()
    heard = not picture.links().get("broker", {"problem": None})["problem"]
    device = picture.device(pin["device"])
    return presence(pin["pin"], pin["reported"], device, began_s=picture.began_s, heard=heard, now_s=now_s)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 1 <= value <= _LONGEST_S:
        raise BadRequest(f"since_s: '{text}' is not a number of seconds from 1 to {_LONGEST_S}")
    return value
