"""The console: the page at /, the parts of it that are fetched again when they change, and the login.

Everything is rendered here, on the server; the page's script only replaces
parts, moves numbers and draws the chart.
"""

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as BaseResponse

from hub import views
from hub.state import hub

__all__ = ["routes"]

routes = Blueprint("console", __name__)


@routes.get("/")
def page() -> str:
    """Return the console."""
    here = hub()
    # Read before the picture: an event in between is told twice rather than never.
    last = here.streams.last_id()
    return render_template(
        "console.html",
        last=last,
        now_s=here.clock(),
        notices=views.notices(here.picture),
        dead_letters=here.picture.dead_letters(),
        pins=views.pin_views(here.picture),
        devices=views.device_views(here.picture),
        **views.alert_views(here.picture),
    )


@routes.get("/part/<name>")
def part(name: str) -> str:
    """Return one section of the page."""
    picture = hub().picture
    now_s = hub().clock()
    if name == "alerts":
        return render_template("alerts.html", **views.alert_views(picture), now_s=now_s)
    if name == "pins":
        return render_template("pins.html", pins=views.pin_views(picture), now_s=now_s)
    if name == "devices":
        return render_template("devices.html", devices=views.device_views(picture), now_s=now_s)
    if name == "notices":
        told = {"notices": views.notices(picture), "dead_letters": picture.dead_letters()}
        return render_template("notices.html", **told, now_s=now_s)
    raise NotFound(f"part: '{name}' is not a part of the page")


@routes.get("/part/pin/<device>/<pin>")
def pin_part(device: str, pin: str) -> str:
    """Return the card of one pin."""
    entry = hub().picture.pin(device, pin)
    if entry is None:
        raise NotFound(f"pin: '{device}/{pin}' was never heard of")
    return render_template("pin.html", pin=views.pin_view(hub().picture, entry), now_s=hub().clock())


@routes.route("/login", methods=["GET", "POST"])
def login() -> BaseResponse | str | tuple[str, int]:
    """Ask for the password; with the right one go to the console."""
    if request.method == "GET":
        return render_template("login.html", problem="")
    wait_s = hub().access.log_in(request.form.get("password", ""))
    if wait_s is None:
        return redirect(url_for("console.page"))
    problem = "That is not the password."
    if wait_s > 0:
        problem = f"Too many wrong passwords. The next try is possible in {wait_s:.0f} s."
    return render_template("login.html", problem=problem), 429 if wait_s > 0 else 401


@routes.post("/logout")
def logout() -> BaseResponse:
    """End the session."""
    session.clear()
    return redirect(url_for("console.login"))
