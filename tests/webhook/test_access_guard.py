"""The guard before every route, and the settings of access."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.security import generate_password_hash

from service.errors import SettingsError
from service.signing import sign
from tests.webhook.test_access import CHEAP, STAMP, Clock
from webhook.access.basic import BasicUsers
from webhook.access.guard import ALERT_AUTH, ALERTS, ANY, BASIC, BOTH, HMAC, OPERATOR, Guard, caller
from webhook.access.replays import Replays
from webhook.access.scopes import ACTUATE, ADMIN, ALERT, READ
from webhook.access.settings import AccessSettings, require_access
from webhook.access.signature import HEADERS, Signatures
from webhook.access.throttle import Throttle
from webhook.access.tokens import Tokens, create, revoke
from webhook.api.app import make_app
from webhook.api.operations import Operations

ALERT_SECRET = "alert-secret"
KEY = "0123456789abcdef"
NOW_S = 1_800_000_000


class Door:
    """The guard before routes that only say who came."""

    def __init__(self, folder: Path, alert_auth: str, key: str = KEY) -> None:
        self.clock = Clock(NOW_S)
        self.tokens = folder / "tokens.json"
        throttle = Throttle(clock=self.clock)
        users = BasicUsers({ALERTS: "alert-secret", OPERATOR: "operator-secret"}, throttle, self.clock)
        signatures = Signatures(key, STAMP, Replays(folder / "used", NOW_S)) if key else None
        guard = Guard(users, signatures, Tokens(self.tokens), throttle, alert_auth, self.clock)
        self.senders_problem = guard.senders_problem
        app: Flask = make_app(guard.admit, 1 << 16, _routes())
        self.client = app.test_client()

    def post(self, user: str = "", password: str = ALERT_SECRET, signed: str = "", **more: str) -> int:
        """Post an alert; `signed` is the key to sign with. Returns the status."""
        seconds = str(int(self.clock.now_s))
        given = dict(more)
        if signed:
            given |= {HEADERS[0]: sign(signed.encode(), seconds, b"{}").hex(), STAMP: seconds}
        auth = (user, password) if user else None
        return self.client.post("/alert", data=b"{}", headers=given, auth=auth).status_code


def _routes() -> Operations:
    api = Operations()
    for method, path, scope in (
        ("POST", "/alert", ALERT), ("GET", "/claims", READ), ("PUT", "/pins", ACTUATE), ("POST", "/all", ADMIN),
    ):  # fmt: skip

        def handler() -> dict[str, str]:
            return {"caller": caller().name}

        handler.__name__ = path[1:]
        api.operation(method, path, scope=scope, answer={})(handler)
    return api


@pytest.fixture
def door(tmp_path: Path) -> Callable[..., Door]:
    return lambda alert_auth=ANY, key=KEY: Door(tmp_path, alert_auth, key)


_SENDERS = {
    # what is sent -> the modes in which it is taken
    ("basic",): {ANY, BASIC},
    ("signed",): {ANY, HMAC},
    ("basic", "signed"): {ANY, BASIC, HMAC, BOTH},
    ("wrong basic", "signed"): {ANY, HMAC},
    ("basic", "wrong signed"): {BASIC},
    ("wrong signed",): set(),
    ("wrong basic",): set(),
    (): set(),
}


@pytest.mark.parametrize("mode", ALERT_AUTH)
@pytest.mark.parametrize("sent", list(_SENDERS), ids="+".join)
def test_what_a_sender_must_show(door: Callable[..., Door], mode: str, sent: tuple[str, ...]):
    """`any`: who signs must sign right, who does not needs the password. `both`: both. The others: that one."""
    one = door(mode)
    user = ALERTS if "basic" in sent or "wrong basic" in sent else ""
    password = "wrong" if "wrong basic" in sent else "alert-secret"
    key = KEY if "signed" in sent else "another-key-0123" if "wrong signed" in sent else ""
    assert one.post(user, password, key) == (200 if mode in _SENDERS[sent] else 401)


@pytest.mark.parametrize("mode", [ANY, HMAC, BOTH])
def test_a_replayed_notice_is_refused_whatever_else_it_carries(door: Callable[..., Door], mode: str):
    """A copy of a whole request has its password too."""
    one = door(mode)
    assert [one.post(ALERTS, signed=KEY), one.post(ALERTS, signed=KEY)] == [200, 401]
    one.clock.now_s += 10
    assert one.post(ALERTS, signed=KEY) == 200


def test_without_a_key_signatures_are_not_looked_at(door: Callable[..., Door]):
    """A sender may sign before the webhook has the key; it still needs the password."""
    one = door(ANY, "")
    assert [one.post(ALERTS, signed=KEY), one.post(signed=KEY)] == [200, 401]


def test_a_flood_of_wrong_credentials_is_slowed_down_and_locks_nobody_out(door: Callable[..., Door]):
    """Not from another address, and not who was right before from the same one."""
    one = door()
    good, bad = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.66"}

    def ask(password: str, where: dict[str, str]) -> tuple[int, str | None]:
        found = one.client.get("/claims", auth=(OPERATOR, password), environ_overrides=where)
        return found.status_code, found.headers.get("Retry-After")

    assert ask("operator-secret", bad)[0] == 200
    flood = [ask(f"guess {number}", bad) for number in range(30)]
    assert [status for status, _ in flood] == [401] * 20 + [429] * 10
    assert flood[-1] == (429, "5")
    assert ask("operator-secret", good)[0] == 200
    assert ask("operator-secret", bad)[0] == 200
    assert one.client.get("/claims", auth=("nobody", "x"), environ_overrides=bad).status_code == 429


def test_senders_that_are_all_refused_are_told_until_one_is_let_in(door: Callable[..., Door]):
    """Grafana says so nowhere that anybody looks, and nothing is actuated meanwhile."""
    one = door(BASIC)
    assert one.client.get("/alert").status_code == 401  # the doctor tries the lock
    assert one.senders_problem() is None
    assert [one.post(ALERTS, "old password"), one.post()] == [401, 401]
    assert one.client.get("/alert", auth=(ALERTS, ALERT_SECRET)).status_code == 405
    assert "2 posts to /alert had wrong credentials" in str(one.senders_problem())
    assert one.post(ALERTS) == 200
    assert one.senders_problem() is None
    one.post()
    one.clock.now_s += 901
    assert one.senders_problem() is None


def test_tokens_open_what_their_scope_says_and_never_the_senders_door(door: Callable[..., Door]):
    """403: of another scope. 401: revoked, or /alert, which knows no tokens."""
    one = door()
    wanted = {READ: [200, 403, 403, 401], ACTUATE: [200, 200, 403, 401], ADMIN: [200, 200, 200, 401]}
    for scope, statuses in wanted.items():
        given = {"Authorization": f"Bearer {create(one.tokens, f'of-{scope}', scope)}"}
        answers = [
            one.client.open(path, method=method, headers=given)
            for method, path in (("GET", "/claims"), ("PUT", "/pins"), ("POST", "/all"), ("POST", "/alert"))
        ]
        assert [answer.status_code for answer in answers] == statuses
        assert answers[0].json == {"caller": f"of-{scope}"}
    revoke(one.tokens, "of-admin")
    assert one.client.post("/all", headers=given).status_code == 401


_ODD = [
    "Basic", "Basic ", "Basic !!!", "Basic YQ==", "Basic OnA=", "Basic /////w==", "Bearer", "Bearer plt_",
    "Bearer \u00e9", "Digest x", "Basic " + "A" * 9000, "\u00ff", "basic YWxlcnRzOmFsZXJ0LXNlY3JldAA=",
]  # fmt: skip


@pytest.mark.parametrize("text", _ODD, ids=range(len(_ODD)))
def test_credentials_of_any_form_are_answered_401(door: Callable[..., Door], text: str):
    """Cut off, not base64, not UTF-8, of a scheme that nobody asked for."""
    answer = door().client.get("/claims", headers={"Authorization": text})
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert (answer.json or {})["reason"] in ("credentials", "wrong")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


# --- settings ---

_GOOD = {"alert_password": "alert-secret", "operator_password": "operator-secret"}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"alert_auth": HMAC}, "--hmac-key: is missing"),
        ({**_GOOD, "alert_auth": BOTH}, "--hmac-key: is missing"),
        ({**_GOOD, "hmac_key": "short"}, "--hmac-key: (hidden) is shorter than 16"),
        ({**_GOOD, "operator_password": "scrypt:oops"}, "--operator-password: (hidden) begins like a hash"),
        ({**_GOOD, "operator_password": "scrypt:3:8:1$a$b"}, "--operator-password: (hidden) begins like a hash"),
    ],
)
def test_secrets_that_cannot_be_used_are_named_at_the_start(values: dict[str, str], line: str):
    """And never shown."""
    with pytest.raises(SettingsError) as caught:
        require_access(AccessSettings(**values))
    assert str(caught.value).startswith(line)


def test_a_sender_that_only_signs_needs_no_password():
    """And a hash is good as it is."""
    require_access(AccessSettings(alert_auth=HMAC, hmac_key=KEY, operator_password=generate_password_hash("x", CHEAP)))
