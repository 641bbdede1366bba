"""One HTTP GET that cannot take long, cannot be long, and goes nowhere else.

Its socket is shut when the time is over: whoever drips lines of a header, or a
body, keeps each single read waiting less than any time limit of a read.
"""

import contextlib
import http.client
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

__all__ = ["FetchError", "fetch"]

_CONNECT_S, _READ_S = 2.0, 3.0
_WHOLE_S = 8.0
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class FetchError(Exception):
    """The answer cannot be had; the message says why in a few words."""


def fetch(url: str, most_bytes: int) -> bytes:
    """Return the body of the answer to GET `url` (http).

    Raises:
        FetchError: no answer within 2 s (an address), silence for 3 s, more than 8 s in all (looking up the name may
            take longer, as the resolver likes); another status than 200 (redirects are not followed: a device that
            points elsewhere must not make us ask there); a body beyond `most_bytes`, as it comes or unpacked.
    """
    end_s = time.monotonic() + _WHOLE_S
    parts = urlsplit(url)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    over = threading.Event()
    try:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_CONNECT_S)
        try:
            with _connected(connection, end_s, over):
                connection.request("GET", target, headers={"Connection": "close"})
                return _body(connection.getresponse(), most_bytes, over)
        finally:
            connection.close()
    except (http.client.HTTPException, OSError, ValueError) as error:
        if over.is_set():
            raise FetchError(_too_long()) from None
        if isinstance(error, TimeoutError):
            raise FetchError("does not answer in time") from None
        raise FetchError(f"cannot be asked ({type(error).__name__})") from None


@contextlib.contextmanager
def _connected(connection: http.client.HTTPConnection, end_s: float, over: threading.Event) -> Iterator[None]:
    """Connect; at `end_s` (monotonic) set `over` and shut the socket, unless the block has ended."""
    try:
        connection.connect()
    except TimeoutError:
        raise
    except OSError:
        raise FetchError("is not there") from None
    sock = connection.sock
    sock.settimeout(_READ_S)

    def shut() -> None:
        over.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end_s - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _body(answer: http.client.HTTPResponse, most_bytes: int, over: threading.Event) -> bytes:
    with answer:
        if answer.status != http.HTTPStatus.OK:
            raise FetchError(f"answers {answer.status}")
        body = bytearray()
        while part := answer.read1(65536):
            body += part
            if len(body) > most_bytes:
                raise FetchError(f"answers more than {most_bytes} bytes")
        if over.is_set():  # a body without a length ends with its socket
            raise FetchError(_too_long())
        if answer.length:
            raise FetchError(f"ends {answer.length} bytes too early")
        encoding = answer.getheader("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return bytes(body)
    # Nobody asked for it, but some devices hold their page packed and send nothing else.
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchError(f"answers in {encoding[:20]!r}")
    return _unpacked(bytes(body), most_bytes)


def _unpacked(body: bytes, most_bytes: int) -> bytes:
    """Return what gzip or zlib packed, without ever holding much more than `most_bytes` of it."""
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        found = unpacker.decompress(body, most_bytes + 1)
    except zlib.error:
        raise FetchError("answers what cannot be unpacked") from None
    if len(found) > most_bytes:
        raise FetchError(f"answers more than {most_bytes} bytes")
    if not unpacker.eof:
        raise FetchError("answers what cannot be unpacked")
    return found


def _too_long() -> str:
    return f"takes longer than {_WHOLE_S:g} s"
