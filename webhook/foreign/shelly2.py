"""Shelly Gen2 and later: Switch.Set over `<topic>/rpc`, read back from wherever the device says it.

A device answers on `<src>/rpc`, notifies on `<topic>/events/rpc` (setting
`rpc_ntf`, on by default) and keeps `<topic>/status/switch:<n>` up to date only
with `status_ntf`. The answer to Switch.Set says what the switch was before, so
each command is followed by Switch.GetStatus. `toggle_after` is the dead man's
switch: the output flips back after so many seconds. The documentation does not
say that a repeated Set starts the time anew. Were it not so, the output would
flip back while it is wanted, the device would say so, and it would be set again.

Source: Shelly Gen2 device API, "MQTT", "Switch" (Set: `toggle_after`, "flip-back
timer"; status: `timer_started_at`, `timer_duration`) and "RPC protocol".
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from contract.payloads import encode
from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, Read
from webhook.foreign.shelly1 import online
from webhook.foreign.values import json_object, whole

__all__ = ["DEFAULTS", "PIN_KEYS", "build"]

PIN_KEYS: dict[str, Parse] = {"relay": whole(0, 15)}
DEFAULTS = {"relay": "0"}


def build(name: str, topic: str, pins: Mapping[str, Pin]) -> Firmware:
    """Return how to talk with the device whose MQTT prefix is `topic`."""
    source = f"pinloop-{name}"  # a topic of its own, so that an answer needs no guessing whose it is
    switches = {int(one.where["relay"]): pin for pin, one in pins.items()}

    def rpc(method: str, params: dict[str, object]) -> Message:
        return Message(f"{topic}/rpc", encode({"id": 1, "src": source, "method": method, "params": params}))

    def command(pin: str, value: float, ttl_s: int) -> Sequence[Message]:
        switch = int(pins[pin].where["relay"])
        params: dict[str, object] = {"id": switch, "on": bool(value)}
        if value and pins[pin].dead_man:
            params["toggle_after"] = ttl_s
        return (rpc("Switch.Set", params), rpc("Switch.GetStatus", {"id": switch}))

    def output(switch: object, found: Any) -> list[Heard]:
        if not isinstance(found, dict) or not isinstance(found.get("output"), bool):
            return []  # a change of power or temperature alone
        if not isinstance(switch, int) or switch not in switches:
            return []
        return [Heard(switches[switch], 1 if found["output"] else 0)]

    def answer(payload: bytes) -> Sequence[Heard]:
        found = json_object(payload)
        if "error" in found:
            raise ValueError(f"the device refuses: {str(found['error'])[:120]}")
        result = found.get("result")
        return output(result.get("id"), result) if isinstance(result, dict) else []

    def event(payload: bytes) -> Sequence[Heard]:
        params = json_object(payload).get("params")
        if not isinstance(params, dict):
            return []
        return [heard for switch in switches for heard in output(switch, params.get(f"switch:{switch}"))]

    def status(switch: int, payload: bytes) -> Sequence[Heard]:
        return output(switch, json_object(payload))

    reads: dict[str, Read] = {f"{source}/rpc": answer, f"{topic}/events/rpc": event, f"{topic}/online": online}
    for switch in switches:
        reads[f"{topic}/status/switch:{switch}"] = partial(status, switch)
    queries = tuple(rpc("Switch.GetStatus", {"id": switch}) for switch in switches)
    return Firmware(command, (f"{topic}/rpc",), reads, queries)
