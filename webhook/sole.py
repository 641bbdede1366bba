"""One writer: a webhook that finds another one at its broker gives up before it has sent anything.

The lock of the claims database keeps two webhooks from sharing one. Two with a
database each share the client id: the broker ends the older connection whenever
the other one connects (MQTT 3.1.1 section 3.1.4-2). The one that runs already
connects again at once, so that the new one never stands long enough to hear
the broker out, which it does before it sends or clears a command.
"""

from collections.abc import Callable

from service import logs

__all__ = ["Sole"]

_TAKEOVERS = 3


class Sole:
    """Counts the connections that ended before this webhook had heard the broker out.

    Args:
        stands: tells whether it has by now; from then on connections may end for any reason.
        give_up: called once, on the network thread.

    Attributes:
        problem: what is in the way, "" for nothing.
    """

    def __init__(self, client_id: str, stands: Callable[[], bool], give_up: Callable[[], None]) -> None:
        self.problem = ""
        self._client_id = client_id
        self._stands = stands
        self._give_up = give_up
        self._ended = 0

    def disconnected(self) -> None:
        """Take the end of a connection; called on the network thread."""
        if self._stands():
            return
        self._ended += 1
        if self._ended == _TAKEOVERS:
            self.problem = (
                f"another webhook uses this broker: each connection as {self._client_id!r} is taken over at once; "
                "stop the other one, or give this one another --mqtt-prefix"
            )
            logs.get("sole").error("another webhook uses this broker", client_id=self._client_id)
            self._give_up()
