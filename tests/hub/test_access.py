"""Who may come in."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hub.access import Access, Attempts, session_key
from hub.app import create_app
from hub.events import Streams
from hub.feed import Feed
from hub.live import Picture
from hub.mirror import Mirror
from hub.state import Hub
from hub.webhook_client import WebhookClient
from store.sqlite import SqliteStore

PASSWORD = "a-long-password"


class Clock:
    """Monotonic seconds that the test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """The clock of the login's slow-down."""
    return Clock()


@pytest.fixture
def browser(clock: Clock, tmp_path: Any) -> FlaskClient:
    """A client of the application, without servers behind it."""
    picture = Picture(Feed(lambda: 1000.0), lambda: 1000.0)
    webhook = WebhookClient("http://127.0.0.1:9", "none")
    app = Flask("hub")
    access = Access(app, PASSWORD, clock)
    streams = Streams(picture.feed, 2, lambda: 1000.0)
    store = SqliteStore(tmp_path / "store.db")
    return create_app(
        app, Hub(picture, streams, webhook, Mirror(webhook, picture), store, access, lambda: 1000.0)
    ).test_client()


def log_in(browser: FlaskClient, password: str = PASSWORD) -> Any:
    """Send the login form as a browser does."""
    return browser.post("/login", data={"password": password}, headers={"Origin": "http://localhost"})


def test_everything_but_the_login_needs_the_password(browser: FlaskClient) -> None:
    """Pages lead to the form, programs get 401 as JSON."""
    assert browser.get("/").headers["Location"] == "/login"
    assert browser.get("/login").status_code == 200
    for path in ("/api/devices", "/api/events", "/part/pins", "/api/nothing"):
        answer = browser.get(path)
        assert (answer.status_code, list(answer.json)) == (401, ["error"])
        assert "WWW-Authenticate" not in answer.headers


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: FlaskClient) -> None:
    """HttpOnly and SameSite=Strict; the page opens with it."""
    cookie = log_in(browser).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert browser.get("/").status_code == 200


def test_the_password_goes_and_the_sessions_go_with_it() -> None:
    """The key that signs cookies follows from the password, the same after each start."""
    assert session_key("one") == session_key("one") != session_key("two")


def test_a_wrong_password_is_told_and_opens_nothing(browser: FlaskClient) -> None:
    """401 with the form again."""
    answer = log_in(browser, "wrong")
    assert answer.status_code == 401
    assert "That is not the password" in answer.text
    assert browser.get("/").status_code == 302


def test_guessing_is_slowed_down_also_for_the_right_password(browser: FlaskClient, clock: Clock) -> None:
    """After five failures nothing is compared for the rest of the minute: a guesser learns nothing."""
    for _ in range(5):
        log_in(browser, "wrong")
    assert log_in(browser).status_code == 429
    answer = browser.get("/api/devices", auth=("owner", PASSWORD))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "61")
    clock.now_s = 61
    assert log_in(browser).status_code == 302


def test_a_session_outlives_the_slow_down(browser: FlaskClient) -> None:
    """Somebody who guesses cannot lock the owner out of an open console."""
    log_in(browser)
    for _ in range(5):
        log_in(browser, "wrong")
    assert browser.get("/").status_code == 200


def test_many_addresses_are_slowed_down_together() -> None:
    """A guesser with many addresses meets the second bound."""
    clock = Clock()
    attempts = Attempts(clock, most=5, most_in_all=10)
    for index in range(10):
        assert attempts.wait_s(f"10.0.0.{index}") == 0
        attempts.failed(f"10.0.0.{index}")
    assert attempts.wait_s("10.0.0.99") == 60
    clock.now_s = 60
    assert attempts.wait_s("10.0.0.99") == 0


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://console.example"}, True),  # behind a proxy
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_a_write_with_the_cookie_must_come_from_a_page_of_the_hub(
    browser: FlaskClient, headers: dict[str, str], allowed: bool
) -> None:
    """A page of another site cannot switch a pin with the owner's cookie."""
    log_in(browser)
    status = browser.put("/api/pins/lights/red", json={"value": 1}, headers=headers).status_code
    assert status == (503 if allowed else 403)  # 503: there is no webhook behind this application


def test_a_program_signs_in_with_each_request(browser: FlaskClient) -> None:
    """Basic auth as owner needs no Origin; with a foreign one it is refused too (a browser may remember Basic)."""
    wish = {"value": 1}
    assert browser.put("/api/pins/lights/red", json=wish, auth=("owner", PASSWORD)).status_code == 503
    assert browser.get("/api/devices", auth=("root", PASSWORD)).status_code == 401
    foreign = {"Origin": "http://evil.example"}
    answer = browser.put("/api/pins/lights/red", json=wish, auth=("owner", PASSWORD), headers=foreign)
    assert answer.status_code == 403


def test_a_forged_cookie_is_no_session(browser: FlaskClient) -> None:
    """Only what the key signed counts."""
    browser.set_cookie("pinloop", "eyJ1c2VyIjoib3duZXIifQ.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
    assert browser.get("/").status_code == 302


def test_signing_out_ends_the_session(browser: FlaskClient) -> None:
    """The cookie is taken away."""
    log_in(browser)
    browser.post("/logout", headers={"Origin": "http://localhost"})
    assert browser.get("/").status_code == 302


def test_every_answer_carries_the_security_headers(browser: FlaskClient) -> None:
    """No inline script, no framing, no sniffing, nothing cached but the static files."""
    for path in ("/login", "/api/devices", "/nothing"):
        headers = browser.get(path).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
        assert headers["Cache-Control"] == "no-store"


def test_errors_are_json_for_programs_and_pages_for_people(browser: FlaskClient) -> None:
    """The message is the same."""
    log_in(browser)
    assert browser.get("/api/nothing").status_code == 404
    assert "error" in browser.get("/api/nothing").json
    assert browser.get("/nothing").mimetype == "text/html"
    assert browser.get("/api/readings/Pot/pot").status_code == 400
    assert browser.get("/api/readings/pot/pot?since_s=nan").status_code == 400
