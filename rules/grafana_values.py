"""The values in Grafana's provisioning files: durations, uids, states, texts with templates.

Like `expressions`: each function takes the text as it stands in the file and
returns a value, or raises ValueError whose message completes "'<text>' ...".

Sources: Grafana 13, pkg/services/provisioning/alerting and ngalert/models (what they parse and refuse);
Prometheus' model.ParseDuration.
"""

import re
from collections.abc import Callable, Collection

__all__ = [
    "INTERVAL_S", "count", "duration_s", "filled", "flag", "group_interval_s", "interval_s", "referring", "template",
    "uid", "whole",
]  # fmt: skip

INTERVAL_S = 10
"""Grafana's scheduler ticks this often; no rule is evaluated in between."""

_DURATION = re.compile(r"0|(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?", re.ASCII)
_UNIT_S = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
# A column of 16 bits in Grafana's database; SQLite would take more, PostgreSQL and MySQL refuse.
_MOST_EVALUATIONS = 32767

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_VARIABLE = re.compile(r"(?<!\$)\$(\$?)([A-Za-z_]\w*|\{[^}]*\})?")
# Beside those that an action declares itself: {{ range $k, $v := $labels }}.
_VARIABLES = ("labels", "values", "value")
_BLOCKS = ("if", "range", "with", "block", "define")


def filled(text: str) -> str:
    """Return text that is more than spaces."""
    if not text.strip():
        raise ValueError("is blank")
    return text


def uid(text: str) -> str:
    """Return a uid."""
    if not _UID.fullmatch(text):
        raise ValueError("is no uid: 1 to 40 of A-Z a-z 0-9 _ -")
    return text


def duration_s(text: str) -> float:
    """Return the seconds in `10s`, `1h30m`, `0`."""
    if not _DURATION.fullmatch(text):
        raise ValueError("is not a duration of Grafana: whole numbers with y, w, d, h, m, s or ms, the longest first")
    return sum(int(number) * _UNIT_S[unit] for number, unit in re.findall(r"(\d+)(ms|[ywdhms])", text))


def interval_s(text: str) -> float:
    """Return the interval of a group of rules."""
    seconds = duration_s(text)
    if not seconds or seconds % INTERVAL_S:
        raise ValueError(f"is not a multiple of {INTERVAL_S}s, in which Grafana's scheduler ticks")
    return seconds


def group_interval_s(text: str) -> float:
    """Return an interval of a notification policy that must not be zero."""
    seconds = duration_s(text)
    if not seconds:
        raise ValueError("is zero, which Grafana refuses")
    return seconds


def whole(text: str) -> int:
    """Return a whole number."""
    if not re.fullmatch(r"-?\d+", text, re.ASCII):
        raise ValueError("is no whole number")
    return int(text)


def count(text: str) -> int:
    """Return a number of evaluations."""
    number = whole(text)
    if not 1 <= number <= _MOST_EVALUATIONS:
        raise ValueError(f"is not from 1 to {_MOST_EVALUATIONS}, which is what Grafana's database column holds")
    return number


def flag(text: str) -> bool:
    """Return true or false."""
    if text not in ("true", "false"):
        raise ValueError("is not true or false")
    return text == "true"


def referring(known: Collection[str], to: str) -> Callable[[str], str]:
    """Return a parser that takes one of `known`; `to` says in messages what those are."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"is no {to} here ({', '.join(sorted(known)) or 'there is none'})")
        return text

    return parse


def template(refs: Collection[str], expanded: bool) -> Callable[[str], str]:
    """Return a parser for a text with Go templates.

    Args:
        refs: refIds that $values may name.
        expanded: whether Grafana replaces variables of the environment in it before: labels yes, annotations no.
    """

    def parse(text: str) -> str:
        _dollars(text, expanded)
        open_blocks = 0
        if text.count("{{") != text.count("}}") or "{{" in _ACTION.sub("", text):
            raise ValueError("has {{ without }}, or }} without {{")
        for action in _ACTION.findall(text):
            words = action.strip("- \t\n").split()
            if not words:
                raise ValueError("has an empty {{ }}")
            open_blocks += (words[0] in _BLOCKS) - (words[0] == "end")
            _variables(action, refs)
        if open_blocks:
            raise ValueError("has {{ if }}, {{ range }} or {{ with }} without its {{ end }}, or one too many")
        if expanded and re.search(r"\$values?\b", text):
            raise ValueError("has a value in a label: labels name the alert, a new value would be another alert")
        return text

    return parse


def _dollars(text: str, expanded: bool) -> None:
    for doubled, name in _VARIABLE.findall(text):
        if expanded and not doubled:
            what = f"${name}" if name else "$"
            raise ValueError(f"has {what}, which Grafana replaces by the environment's here: write $${name}")
        if not expanded and doubled:
            raise ValueError(f"has $${name}, but Grafana does not halve $$ here: write ${name}")


def _variables(action: str, refs: Collection[str]) -> None:
    declared = set(re.findall(r"\$(\w+)\s*(?:,|:=)", action))
    for name, rest in re.findall(r"\$([A-Za-z_]\w*)((?:\.\w+)*)", action):
        if name not in _VARIABLES and name not in declared:
            raise ValueError(f"has ${name}, which Grafana's templates do not know ($labels, $values, $value)")
        ref = rest.split(".")[1] if rest else ""
        if name == "values" and ref and ref not in refs:
            raise ValueError(f"has $values.{ref}, but there is no refId {ref}")
