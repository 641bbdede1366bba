"""What is remembered to save work, bounded by bytes: whoever may publish decides how long a topic or a name is."""

from typing import TypeVar

__all__ = ["Remembered"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_ENTRY_BYTES = 200  # of the table, and of the small objects around key and value
_LARGEST_SHARE = 64


class Remembered(dict[_Key, _Value]):
    """A dict that forgets everything when what was put into it by `keep` takes too many bytes.

    Reading it costs what reading a dict costs. What is asked for often is back soon. Several threads may use it; they
    may count a value twice, or miss one.

    Args:
        most_bytes: how many those are.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes
        self._bytes = 0

    def keep(self, key: _Key, value: _Value, size_bytes: int) -> None:
        """Remember a value, unless there is one, or it is so large that a few of its kind would push out all others.

        Args:
            size_bytes: of the texts in key and value, about.
        """
        if key in self:
            return
        size_bytes += _ENTRY_BYTES
        if size_bytes > self._most_bytes // _LARGEST_SHARE:
            return
        if self._bytes + size_bytes > self._most_bytes:
            self.clear()
            self._bytes = 0
        self._bytes += size_bytes
        self[key] = value
