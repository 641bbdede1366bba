"""What CPython lacks of MicroPython's own module: the same context, with MicroPython's arguments."""

import ssl

PROTOCOL_TLS_CLIENT = ssl.PROTOCOL_TLS_CLIENT
CERT_REQUIRED = ssl.CERT_REQUIRED


class SSLContext(ssl.SSLContext):
    """A context that checks the host name, as every client of MicroPython's that names one."""

    def load_verify_locations(self, cadata: bytes) -> None:  # type: ignore[override]
        """Trust an authority's certificate (DER)."""
        super().load_verify_locations(cadata=cadata)
