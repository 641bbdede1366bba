"""What a store can answer instead of storing.

StoreError(Exception)
  transient (permanent=False)  the same points may be accepted later: disk full, server away, credentials refused
  permanent (permanent=True)   the store will never take these points as they are: malformed, type conflict, too large
"""


class StoreError(Exception):
    """A read or write that the store did not do.

    Attributes:
        permanent: trying the same again is useless; of several points perhaps only one is to blame.
        status: the HTTP status of the answer, 0 when there was none.
        retry_after_s: seconds that the store asks to wait, 0 when it does not say.
        dropped: how many of the points it refused, 0 when it does not say.
    """

    def __init__(
        self, message: str, *, permanent: bool = False, status: int = 0, retry_after_s: float = 0, dropped: int = 0
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.status = status
        self.retry_after_s = retry_after_s
        self.dropped = dropped
