"""TLS inside a socket that does not block: what a server's loop reads and writes instead of the socket itself.

Bytes only, no threads: waitress's loop receives and one of its workers sends, on the same connection and at the same
time, which OpenSSL must not see; so each goes through the connection's lock, and neither ever waits for the network
while it has it. Until the first byte has come there is no TLS object: a client that says nothing costs a socket.
"""

import contextlib
import errno
import socket
import ssl
import threading

__all__ = ["CHUNK_BYTES", "NotTlsError", "TlsSocket"]

CHUNK_BYTES = 65536  # four full records; the most that one connection may hold up the loop with
_HANDSHAKE = 22  # the first byte of every ClientHello (RFC 8446 5.1); HTTP begins with a letter


class NotTlsError(OSError):
    """The first byte is not of TLS."""


class TlsSocket:
    """The server's end of a connection.

    Args:
        sock: an accepted connection.
        context: the server's certificate and rules.

    Attributes:
        established: the handshake is done.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.established = False
        self._sock = sock
        self._context = context
        self._lock = threading.Lock()
        self._received, self._encrypted = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._unsent = bytearray()  # encrypted, and not taken by the kernel yet
        self._owed = 0  # bytes of the caller's that are within `_unsent`

    def receive(self) -> bytes | None:
        """Return what can be decrypted now; b"" when the client has ended, None when there is nothing yet.

        Everything is returned that has come: no event would tell of a rest.

        Raises:
            NotTlsError: the client does not speak TLS; nothing has been answered.
            OSError: the handshake or the connection failed (`ssl.SSLError` says why).
        """
        with self._lock:
            try:
                came = self._sock.recv(CHUNK_BYTES)
            except BlockingIOError:
                return None
            if self._tls is None:
                if not came:
                    return b""
                if came[0] != _HANDSHAKE:
                    raise NotTlsError("no TLS")
                self._tls = self._context.wrap_bio(self._received, self._encrypted, server_side=True)
            if came:
                self._received.write(came)
            else:
                self._received.write_eof()
            try:
                return self._decrypted(self._tls)
            finally:
                self._flush()  # also the alert that tells the client why

    def send(self, data: bytes) -> int:
        """Send the beginning of `data`; return how many bytes of it the kernel has.

        Raises:
            BlockingIOError: it takes no more; call again with the same data, it goes on where it was.
            OSError: the connection has failed.
        """
        with self._lock:
            if self._tls is None:
                raise ConnectionResetError(errno.ECONNRESET, "nothing has been received")
            if not self._owed:
                try:
                    self._owed = self._tls.write(data[:CHUNK_BYTES])
                except ssl.SSLError as error:
                    raise ConnectionResetError(errno.ECONNRESET, str(error)) from None
            if not self._flush():
                raise BlockingIOError(errno.EWOULDBLOCK, "the client does not read")
            sent, self._owed = self._owed, 0
            return sent

    def send_plain(self, data: bytes) -> None:
        """Send `data` to who does not speak TLS, as far as the kernel takes it.

        Raises:
            OSError: the connection has failed.
        """
        self._sock.send(data)

    @property
    def pending(self) -> bool:
        """Whether there is something encrypted that `flush` should send."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Go on sending what the kernel did not take.

        Raises:
            OSError: the connection has failed.
        """
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Say goodbye if the client is there to hear it, and close."""
        with self._lock:
            if self._tls and self.established and not self._unsent:
                with contextlib.suppress(OSError):
                    self._tls.unwrap()  # says it wants the client's goodbye; nobody waits for that
                with contextlib.suppress(OSError):
                    self._flush()
            self._sock.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, for the loop."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set whether the socket blocks."""
        self._sock.setblocking(flag)

    def getsockopt(self, level: int, option: int) -> int:
        """Return an option of the socket."""
        return self._sock.getsockopt(level, option)

    def _decrypted(self, tls: ssl.SSLObject) -> bytes | None:
        found = bytearray()
        try:
            if not self.established:
                tls.do_handshake()
                self.established = True
            while part := tls.read(CHUNK_BYTES):
                found += part
        except ssl.SSLWantReadError:
            return bytes(found) or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            if not self.established:
                raise
        return bytes(found)

    def _flush(self) -> bool:
        """Return whether everything is sent."""
        self._unsent += self._encrypted.read()
        while self._unsent:
            try:
                del self._unsent[: self._sock.send(self._unsent)]
            except BlockingIOError:
                return False
        return True
