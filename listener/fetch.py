"""One HTTP GET that cannot take long, cannot be long, and goes nowhere else."""

import time

import urllib3

__all__ = ["FetchError", "fetch"]

_CONNECT_S, _READ_S = 2.0, 3.0
_WHOLE_S = 8.0
_POOL = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S), maxsize=1)


class FetchError(Exception):
    """The answer cannot be had; the message says why in a few words."""


def fetch(url: str, most_bytes: int) -> bytes:
    """Return the body of the answer to GET `url`.

    Raises:
        FetchError: no answer within 2 s, silence for 3 s, more than 8 s in all; another status than 200 (redirects are
            not followed: a device that points elsewhere must not make us ask there); a body beyond `most_bytes`.
    """
    end_s = time.monotonic() + _WHOLE_S
    try:
        answer = _POOL.request(
            "GET", url, redirect=False, preload_content=False, headers={"Connection": "close", "Accept-Encoding": ""}
        )
        try:
            if answer.status != 200:
                raise FetchError(f"answers {answer.status}")
            body = bytearray()
            while part := answer.read1(65536):
                body += part
                if len(body) > most_bytes:
                    raise FetchError(f"answers more than {most_bytes} bytes")
                if time.monotonic() > end_s:
                    raise FetchError(f"takes longer than {_WHOLE_S:g} s")
            return bytes(body)
        finally:
            answer.close()
    except urllib3.exceptions.NewConnectionError:  # urllib3 counts it among the time-outs
        raise FetchError("is not there") from None
    except urllib3.exceptions.TimeoutError:
        raise FetchError("does not answer in time") from None
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise FetchError(f"cannot be asked ({type(error).__name__})") from None
