"""Who may come in: the console's login, its session cookie, Basic auth for programs.

One password. A browser gets a signed cookie (HttpOnly, SameSite=Strict); a
program signs in as `owner` with each request. Every write that a browser could
have been tricked into is refused unless it comes from a page of this very hub.
Failed logins are slowed down, per address and in all.
"""

import hashlib
import hmac
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask, Request, Response, redirect, request, session, url_for
from prometheus_client import Counter
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized
from werkzeug.wrappers import Response as BaseResponse

__all__ = ["OWNER", "Access", "Attempts", "session_key"]

OWNER = "owner"
_SESSION_S = 7 * 86400
_OPEN = ("console.login", "static")

LOGINS = Counter("hub_logins_total", "Passwords offered.", ["outcome"])

# Everything comes from this server; nothing is inline, so that a device's text can never become a script.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it browsers send `Origin: null` with the login form.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def session_key(password: str) -> bytes:
    """Return the key that signs cookies, derived from the password: sessions outlive a restart and end with it.

    scrypt, because a cookie in the wrong hands would otherwise let the password be guessed fast.
    """
    return hashlib.scrypt(password.encode(), salt=b"pinloop hub session", n=2**14, r=8, p=1)


class Attempts:
    """Counts failed logins in a sliding minute.

    Args:
        clock: monotonic seconds.
        most: failures of one address after which it has to wait.
        most_in_all: the same for all addresses together, against a guesser with many.
    """

    _WINDOW_S = 60.0
    _ADDRESSES = 1024

    def __init__(self, clock: Callable[[], float], most: int = 5, most_in_all: int = 60) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._all: deque[float] = deque(maxlen=most_in_all)
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return the seconds that `address` has to wait before its next try, 0 for none."""
        with self._lock:
            now = self._clock()
            waits = [
                failures[0] + self._WINDOW_S - now
                for failures in (self._all, self._by_address.get(address, ()))
                if isinstance(failures, deque) and len(failures) == failures.maxlen
            ]
            return max([0.0, *waits])

    def failed(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            now = self._clock()
            self._all.append(now)
            self._by_address.setdefault(address, deque(maxlen=self._most)).append(now)
            self._by_address.move_to_end(address)
            if len(self._by_address) > self._ADDRESSES:
                self._by_address.popitem(last=False)


class Access:
    """Guards an application.

    Args:
        app: every request of it goes through here first.
        password: the console's.
        clock: monotonic seconds.
        https: browsers come by HTTPS; the cookie is sent by that only.
    """

    def __init__(self, app: Flask, password: str, clock: Callable[[], float], *, https: bool = False) -> None:
        self._password = password.encode()
        self._attempts = Attempts(clock)
        app.secret_key = session_key(password)
        app.config.update(
            SESSION_COOKIE_NAME="pinloop",
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            SESSION_COOKIE_SECURE=https,
            PERMANENT_SESSION_LIFETIME=_SESSION_S,
        )
        app.before_request(self._check)
        app.after_request(_headers)

    def log_in(self, password: str) -> float | None:
        """Begin a session and return None if the password is right, else the seconds to wait before the next try."""
        wait_s = self._offered(password)
        if wait_s is None:
            session.clear()
            session["user"] = OWNER
            session.permanent = True
        return wait_s

    def _offered(self, password: str) -> float | None:
        """Return None for the right password, else the seconds to wait before the next try."""
        address = request.remote_addr or ""
        wait_s = self._attempts.wait_s(address)
        if wait_s > 0:
            LOGINS.labels("slowed").inc()
            return wait_s
        if hmac.compare_digest(password.encode(), self._password):
            LOGINS.labels("accepted").inc()
            return None
        self._attempts.failed(address)
        LOGINS.labels("refused").inc()
        return self._attempts.wait_s(address)

    def _check(self) -> BaseResponse | None:
        cookie = session.get("user") == OWNER
        if request.method not in ("GET", "HEAD", "OPTIONS") and not _same_origin(request, needed=cookie):
            raise Forbidden("this write does not come from a page of this hub (header Origin)")
        if cookie or request.endpoint in _OPEN:
            return None
        sent = request.authorization
        if sent is not None and sent.type == "basic" and sent.username == OWNER:
            wait_s = self._offered(sent.password or "")
            if wait_s is None:
                return None
            if wait_s > 0:
                raise TooManyRequests(
                    f"too many wrong passwords; next try in {wait_s:.0f} s", retry_after=int(wait_s) + 1
                )
        if request.path.startswith(("/api/", "/part/")):
            # No WWW-Authenticate: a browser would cover the console with a dialogue of its own.
            raise Unauthorized("sign in as user owner with the console's password")
        return redirect(url_for("console.login"))


def _same_origin(asked: Request, *, needed: bool) -> bool:
    """Tell whether a write comes from a page of this hub; a program sends neither header and needs no proof."""
    site = asked.headers.get("Sec-Fetch-Site")
    origin = asked.headers.get("Origin")
    if site is None and origin is None:
        return not needed
    # Behind a proxy that changes Host the browser's own verdict still holds; pages cannot set this header.
    return site == "same-origin" or (site is None and urlsplit(origin or "").netloc == asked.host)


def _headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
