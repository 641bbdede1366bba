"""The certificate of a service's HTTPS port while it is in use: followed on the disk, and how long it lasts."""

import time
from pathlib import Path

from prometheus_client import Gauge

from service import logs
from service.errors import SettingsError
from service.tls_serving import serving
from service.watched_file import WatchedFile

__all__ = ["Certificate"]

# Who renews by itself (certbot, setup) has done so long before.
_WARN_DAYS = 7
_DAY_S = 86400
ENDS = Gauge("http_certificate_ends_seconds", "End of the certificate of the HTTPS port, since 1970; 0: no HTTPS.")


class Certificate:
    """A certificate that is in use, and its files; `look` takes over what somebody puts there instead.

    Args:
        cert_path, key_path: as for `serving`.

    Attributes:
        context: for the next connection.

    Raises:
        SettingsError: as `serving`.
    """

    def __init__(self, cert_path: Path, key_path: Path) -> None:
        self._paths = cert_path, key_path
        self._watched = [WatchedFile(path) for path in (cert_path, key_path) if path.name]
        self._mistake = ""
        self.context, self.ends = serving(cert_path, key_path)
        ENDS.set(self.ends.timestamp())

    def look(self) -> None:
        """Take over other files once they stand still; called by the server's loop every few seconds."""
        changed = [one.changed() for one in self._watched]  # each of them has to look
        if not any(changed):
            return
        for one in self._watched:
            one.tried()
        try:
            self.context, self.ends = serving(*self._paths)
        except SettingsError as error:
            self._mistake = str(error)
            logs.get().warning("certificate stays, its files cannot be used", error=self._mistake)
            return
        self._mistake = ""
        ENDS.set(self.ends.timestamp())
        logs.get().info("certificate taken over", path=str(self._paths[0]), ends=self.ends.isoformat())

    def warning(self) -> str | None:
        """Return what an operator should know, None when all is well."""
        said = [f"the one of before stays: {self._mistake}"] if self._mistake else []
        left_s = self.ends.timestamp() - time.time()
        if left_s < _WARN_DAYS * _DAY_S:
            word = "ended" if left_s < 0 else "ends"
            said.append(f"{str(self._paths[0])!r} {word} on {self.ends:%Y-%m-%d %H:%M} UTC: put a new one there")
        return "; ".join(said) or None
