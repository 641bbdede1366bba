"""The golden messages of every input: inputs/<name>/vectors.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ContractError
from inputs import About, Ignored, Readings, Refused, Status, declared

FOLDERS = sorted(path.parent for path in Path(declared.__file__).parent.glob("*/decode.py"))
VECTORS = [
    pytest.param(whole["file"], one, id=f"{folder.name}: {one['name']}")
    for folder in FOLDERS
    for whole in [json.loads((folder / "vectors.json").read_text())]
    for one in whole["vectors"]
]


def plain(fact: object) -> dict[str, Any]:
    """Return a fact as the vectors spell it."""
    if isinstance(fact, Readings):
        samples = []
        for sample in fact.samples:
            said = {"values": sample.values, "t": sample.t_s, "n": sample.n}
            samples.append({key: value for key, value in said.items() if value is not None})
        return {"device": fact.device, **(samples[0] if len(samples) == 1 else {"samples": samples})}
    if isinstance(fact, Status):
        return {"device": fact.device, "status": fact.status}
    if isinstance(fact, About):
        return {"device": fact.device, "texts": dict(fact.texts)}
    assert isinstance(fact, Refused)
    return {"refused": fact.reason}


@pytest.mark.parametrize(("file", "vector"), VECTORS)
def test_a_message_says_what_its_vector_promises(file: str, vector: dict[str, Any]) -> None:
    """Facts in their order, values left out by reason, or the reason for which the whole is refused."""
    known = declared.parse(vector.get("file", file))
    for topic, payload in vector.get("before", ()):
        assert known.decode(topic, payload.encode()) == []
    if "reason" in vector:
        with pytest.raises(ContractError) as caught:
            known.decode(vector["topic"], vector["payload"].encode())
        assert caught.value.reason == vector["reason"]
        return
    facts = known.decode(vector["topic"], vector["payload"].encode())
    assert [plain(fact) for fact in facts if not isinstance(fact, Ignored)] == vector["expect"]
    assert [fact.reason for fact in facts if isinstance(fact, Ignored)] == vector.get("ignored", [])


def test_an_isems_line_of_bytes_that_are_no_text_costs_that_line() -> None:
    """A byte that broke on the way, or in the flash of the router that keeps the log."""
    line = b"%b;1;1700000000;f;1;0;;;12;;;;;;;;;"
    facts = declared.parse("[isems]").decode("/isems/a/csvlog", b"\n".join([line % b"a", line % b"\xffb", line % b"c"]))
    assert [plain(fact) for fact in facts if not isinstance(fact, About)] == [
        {"device": "a", "values": VALUES, "t": 1700000000, "n": 1700000000},
        {"refused": "utf8"},
        {"device": "c", "values": VALUES, "t": 1700000000, "n": 1700000000},
    ]


VALUES = {"time_to_shutdown": 1, "power_save_mode": 0, "battery_voltage": 12}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_input_is_a_folder_with_everything_about_it(folder: Path) -> None:
    """Decoder, page, sample and vectors; the sample is a good file."""
    assert (folder / "README.md").read_text().startswith("# ")
    sample = (folder / "sample.toml").read_text()
    assert declared.parse(sample).inputs
