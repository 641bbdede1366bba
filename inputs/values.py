"""JSON of others to numbers: every number in it, under the path that leads there."""

from collections.abc import Iterable, Mapping

from contract.errors import ContractError
from contract.limits import MAX_PAYLOAD_BYTES
from contract.payloads import bare_number, json_of, number, text_of
from contract.readings import Sample
from inputs.facts import Ignored
from inputs.names import sensor_name

__all__ = ["WORDS", "Path", "document", "flatten", "named", "scalar", "text"]

Path = tuple[str, ...]

# What firmware says for 1 and 0, in any case.
WORDS: Mapping[str, float] = {"on": 1, "off": 0, "true": 1, "false": 0, "open": 1, "closed": 0, "close": 0}
_DEEPEST = 12


def text(payload: bytes, key: str) -> str:
    """Return a payload as text; ContractError when it is too long or not UTF-8."""
    return text_of(payload, key, MAX_PAYLOAD_BYTES)


def document(payload: bytes, key: str) -> object:
    """Return the JSON in a payload; ContractError when it is none."""
    return json_of(text(payload, key), key)


def scalar(payload: bytes, key: str, words: Mapping[str, float] = WORDS) -> float:
    """Return the number, or the word for one, that is the whole payload; ContractError when it is neither."""
    said = text(payload, key).strip()
    if said.lower() in words:
        return words[said.lower()]
    return bare_number(said, key)


def flatten(
    value: object, ignored: list[Ignored], words: Mapping[str, float] = WORDS, path: Path = ()
) -> list[tuple[Path, float]]:
    """Return (path, number) for every number below `value`, in the order of the message.

    Booleans and `words` are 1 and 0; of lists the index is part of the path, counted from 0. What is left out goes
    to `ignored`.
    """
    found: list[tuple[Path, float]] = []
    shown = ".".join(path)
    if isinstance(value, dict | list):
        if len(path) >= _DEEPEST:
            ignored.append(Ignored(shown, "deep"))
            return found
        items: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in items:
            found += flatten(below, ignored, words, (*path, str(key)))
    elif isinstance(value, bool):
        found.append((path, float(value)))
    elif isinstance(value, int | float):
        try:
            found.append((path, number(value, shown)))
        except ContractError:  # NaN, infinite, beyond 2**53
            ignored.append(Ignored(shown, "number"))
    elif isinstance(value, str) and value.strip().lower() in words:
        found.append((path, words[value.strip().lower()]))
    else:
        ignored.append(Ignored(shown, "null" if value is None else "text"))
    return found


def named(pairs: Iterable[tuple[Path, float]], ignored: list[Ignored], t_s: float | None = None) -> list[Sample]:
    """Return the sample of these values, none when there is no value.

    The first of two paths that make the same name counts.
    """
    values: dict[str, float] = {}
    for path, value in pairs:
        try:
            name = sensor_name(path)
        except ContractError:
            ignored.append(Ignored(".".join(path), "text"))
            continue
        if name in values:
            ignored.append(Ignored(".".join(path), "collision"))
        else:
            values[name] = value
    return [Sample(values, t_s)] if values else []
