"""Why a message is not stored.

Rejected(ValueError)   with `reason`, one of REASONS; counted, logged at a bounded rate, never fatal
"""

# Closed, so that a counter's label cannot grow with what strangers send: the contract's reasons, then our own.
REASONS = (
    "device", "kind", "name", "prefix", "json", "number", "shape", "size", "status", "text", "utf8", "why",
    "reserved", "collision", "many", "other",
)  # fmt: skip


class Rejected(ValueError):  # noqa: N818  (an outcome of its own, like queue.Full)
    """A message that cannot be stored.

    Attributes:
        reason: one of REASONS.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason if reason in REASONS else "other"
