"""Topic filters that tell what their wildcards stood for."""

import re

__all__ = ["TopicPattern"]


class TopicPattern:
    """An MQTT topic filter.

    Raises:
        ValueError: the rule that it breaks (MQTT 3.1.1, 4.7.1).

    Attributes:
        filter: its text.
        wildcards: how many + and # it has.
    """

    def __init__(self, text: str) -> None:
        levels = text.split("/")
        if not text or "\0" in text or len(text.encode(errors="replace")) > 65535:
            raise ValueError("is not a topic filter")
        for number, level in enumerate(levels):
            if ("+" in level and level != "+") or ("#" in level and level != "#"):
                raise ValueError("has a wildcard that is not a whole level")
            if level == "#" and number < len(levels) - 1:
                raise ValueError("has a # before its end")
        if levels[0] in ("+", "#") and len(levels) == 1:
            raise ValueError("matches every topic")
        self.filter = text
        self.wildcards = sum(level in ("+", "#") for level in levels)
        spelled = "/".join({"+": "([^/]*)", "#": "(.*)"}.get(level, re.escape(level)) for level in levels)
        self._match = re.compile(spelled, re.DOTALL).fullmatch

    def match(self, topic: str) -> tuple[str, ...] | None:
        """Return what the wildcards stand for, None when the topic is another one."""
        found = self._match(topic)
        return found.groups() if found else None
