"""What a new rendering changes in Grafana's file of rules, rule by rule, for people.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from rules.grafana import render
from rules.model import Rule

__all__ = ["ADDED", "CHANGED", "PAUSED", "RESUMED", "Change", "NotRendered", "Rendering", "rendering"]

ADDED, CHANGED, PAUSED, RESUMED = "added", "changed", "paused", "resumed"


class NotRendered(Exception):  # noqa: N818  (a finding about a file)
    """The file that stands where the rendered one goes is not one of ours; it is not to be overwritten."""


@dataclass(frozen=True, slots=True)
class Change:
    """One rule that is another afterwards.

    Attributes:
        kind: ADDED, CHANGED, PAUSED (its rule is gone), RESUMED (it is back).
        title: the rule's name.
        uid: its uid in Grafana.
        keys: which keys change, for CHANGED and RESUMED; nested ones with dots, as "labels.actuate".
    """

    kind: str
    title: str
    uid: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.title}" + (f": {', '.join(self.keys)}" if self.keys else "")


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered file.

    Attributes:
        text: all of it.
        current: whether the file holds just that already.
        changes: what it changes; empty too when only the form differs (comments, order).
    """

    text: str
    current: bool
    changes: list[Change]


def rendering(rules: list[Rule], before: str) -> Rendering:
    """Return the rendering of `rules` over the file as it is, "" for none.

    Raises:
        NotRendered: `before` is no provisioning file.
    """
    old = _rules(before)
    text = render(rules, before)
    return Rendering(
        text, text == before, [change for uid, new in _rules(text).items() for change in _of(uid, old, new)]
    )


def _rules(text: str) -> dict[str, dict[str, object]]:
    try:
        document = yaml.safe_load(text) or {}
        return {str(one["uid"]): one for group in document.get("groups") or () for one in group["rules"]}
    except (yaml.YAMLError, AttributeError, TypeError, KeyError):
        raise NotRendered("is not a file that `pinloop rules render` wrote") from None


def _of(uid: str, before: Mapping[str, Mapping[str, object]], new: Mapping[str, object]) -> list[Change]:
    title, old = str(new["title"]), before.get(uid)
    if old is None:
        return [Change(ADDED, title, uid)]
    keys = tuple(sorted(_differences(old, new)))
    if bool(old.get("isPaused")) != bool(new.get("isPaused")):
        kind = PAUSED if new.get("isPaused") else RESUMED
        return [Change(kind, title, uid, tuple(key for key in keys if key != "isPaused"))]
    return [Change(CHANGED, title, uid, keys)] if keys else []


def _differences(old: object, new: object, prefix: str = "") -> set[str]:
    """Return the keys under which two values differ, as deep as both are blocks; lists count as a whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {
            found
            for key in {*old, *new}
            for found in _differences(old.get(key), new.get(key), f"{prefix}.{key}".strip("."))
        }
    return set() if old == new else {prefix}
