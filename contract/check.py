"""Runs the golden messages of contract/vectors: on CPython, and on MicroPython as devices do.

`python -m contract.check`, `micropython -m contract.check`, or by path. Prints
what failed and `N passed, N failed`; exit code 1 when something failed.
"""

import json
import sys

_HERE = __file__.rpartition("/")[0] or "."
if __name__ == "__main__":  # by path: the folder above holds the package
    sys.path.insert(0, _HERE + "/..")

from contract.commands import Command, State, decode_command, decode_state  # noqa: E402
from contract.errors import ContractError  # noqa: E402
from contract.limits import DEFAULT_PREFIX  # noqa: E402
from contract.presence import decode_info, decode_status  # noqa: E402
from contract.readings import Sample, decode_reading, decode_readings, encode_reading  # noqa: E402
from contract.topics import Topics  # noqa: E402

SETS = ("topics", "readings", "commands", "states", "presence")


def load(name: str) -> "list[dict[str, object]]":
    """Return the vectors of one of SETS."""
    with open(_HERE + "/vectors/" + name + ".json") as file:
        return list(json.load(file))


def judge(name: str, vector: "dict[str, object]") -> str:
    """Return what is wrong with the contract's answer to a vector of set `name`, "" when it is the promised one."""
    try:
        answer = _answer(name, vector)
    except ContractError as error:
        if error.reason == vector.get("reason"):
            return ""
        return "refused for {}: {}".format(error.reason, error)
    if "reason" in vector:
        return "taken as {!r}".format(answer)
    return "" if answer == vector["expect"] else "is {!r}, not {!r}".format(answer, vector["expect"])


def _answer(name: str, vector: "dict[str, object]") -> object:
    """Return what the contract makes of a vector, in the form of its `expect`; what can be encoded goes out and in."""
    if name == "topics":
        return _topic(vector)
    payload = str(vector["payload"]).encode() if "payload" in vector else bytes.fromhex(str(vector["hex"]))
    if name == "readings":
        if "sensor" not in vector:
            return [_sample(sample) for sample in decode_readings(payload)]
        sensor = str(vector["sensor"])
        sample = decode_reading(sensor, payload)
        again = encode_reading(sample.values[sensor], sample.n, sample.boot, sample.t_s, sample.age_s)
        return [_sample(decode_reading(sensor, again))]
    if name == "commands":
        command = decode_command(payload)
        return None if command is None else _command(decode_command(command.encode()))
    if name == "states":
        return _state(decode_state(decode_state(payload).encode()))
    return decode_status(payload) if vector["of"] == "status" else decode_info(payload)


def _topic(vector: "dict[str, object]") -> object:
    topics = Topics(str(vector.get("prefix", DEFAULT_PREFIX)))
    parts = vector.get("build")
    if isinstance(parts, dict):
        topic = topics.build(parts["kind"], parts["device"], parts.get("name", ""))
        parsed = topics.parse(topic)
        if (parsed.kind, parsed.device, parsed.name) != (parts["kind"], parts["device"], parts.get("name", "")):
            return parsed
        return topic
    parsed = topics.parse(str(vector["parse"]))
    return {"kind": parsed.kind, "device": parsed.device, "name": parsed.name}


def _sample(sample: Sample) -> "dict[str, object]":
    found = {"values": sample.values, "t": sample.t_s, "n": sample.n, "b": sample.boot}  # type: dict[str, object]
    if sample.age_s:
        found["a"] = sample.age_s
    return found


def _command(command: "Command | None") -> "dict[str, object] | None":
    if command is None:
        return None
    found = {"v": command.value, "seq": command.seq, "epoch": command.epoch, "ttl": command.ttl_s, "by": command.by}
    if command.force:
        found["force"] = 1
    return found


def _state(state: State) -> "dict[str, object]":
    return {"v": state.value, "seq": state.seq, "why": state.why}


def main() -> int:
    """Run every vector and print the result; return the exit code."""
    passed = failed = 0
    for name in SETS:
        for vector in load(name):
            wrong = judge(name, vector)
            if wrong:
                failed += 1
                print("{}: {}: {}".format(name, vector["name"], wrong))
            else:
                passed += 1
    print("{} passed, {} failed".format(passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
