"""Names that are invented without end cost bounded memory, and nobody else anything."""

import pickle

import pytest

from contract.commands import State
from contract.readings import Sample
from listener import assemble
from listener.assemble import Assembler
from listener.census import DEVICE_BYTES, MOST_NAMES, PIN_BYTES, SENSOR_BYTES, Census
from listener.decode import Decoder, Fact, Readings, Reported, Status
from listener.errors import Rejected
from listener.translate import Translator
from service.packets import Received

NOW_NS = 1763690000 * 10**9


def refused(assembler: Assembler, fact: Fact) -> bool:
    """Tell whether a fact is refused for the number of its kind."""
    assert isinstance(fact, Readings | Reported | Status)
    try:
        assembler.points(fact, False, NOW_NS)
    except Rejected as error:
        return error.reason == "many"
    return False


def test_a_device_has_a_bounded_number_of_sensors_and_pins() -> None:
    """Those that it has go on; so do other devices."""
    assembler = Assembler()
    for number in range(MOST_NAMES // 2):
        assert not refused(assembler, Readings("pot", [Sample({f"s{number}": 1})]))
        assert not refused(assembler, Reported("pot", f"p{number}", State(1, 1, "command")))
    assert refused(assembler, Readings("pot", [Sample({"more": 1})]))
    assert refused(assembler, Reported("pot", "more", State(1, 1, "command")))
    assert not refused(assembler, Readings("pot", [Sample({"s7": 1, "s8": 2})]))
    assert not refused(assembler, Readings("cup", [Sample({"more": 1})]))


def test_there_is_a_bounded_number_of_devices() -> None:
    """Whatever they say; those that are known go on."""
    assembler = Assembler(0, 3 * DEVICE_BYTES + SENSOR_BYTES)
    assert [refused(assembler, Status(f"d{number}", "online")) for number in range(5)] == [False] * 3 + [True] * 2
    assert not refused(assembler, Readings("d1", [Sample({"pot": 1})]))


def test_all_names_together_have_a_bound_by_what_they_take() -> None:
    """Devices, sensors and pins; a name of one device is no room for another's."""
    assembler = Assembler(0, 2 * DEVICE_BYTES + 2 * SENSOR_BYTES + PIN_BYTES)
    assert not refused(assembler, Readings("pot", [Sample({"a": 1, "b": 1})]))
    assert not refused(assembler, Reported("pot", "lamp", State(1, 1, "command")))
    assert not refused(assembler, Status("cup", "online"))
    assert refused(assembler, Readings("pot", [Sample({"c": 1})]))
    assert refused(assembler, Readings("cup", [Sample({"a": 1})]))
    assert refused(assembler, Reported("cup", "lamp", State(1, 1, "command")))
    assert not refused(assembler, Readings("pot", [Sample({"a": 1, "b": 1})]))


def test_what_is_refused_is_not_noted() -> None:
    """A message with one name too many does not take the room of a smaller one."""
    one = Census()
    one.admit("pot", (f"s{number}" for number in range(MOST_NAMES - 1)))
    with pytest.raises(Rejected, match="pot: has 1000 sensors and pins already, without a, b"):
        one.admit("pot", ["b", "a"])
    one.admit("pot", ["a"])


def test_strangers_cost_bounded_memory() -> None:
    """Every message with a name of its own: after the first ones nothing grows that remembers."""
    assembler = Assembler(0, 100_000)
    translator = Translator(Decoder("pinloop"), assembler)

    def strange(first: int) -> int:
        """Let many come and return the size of what is remembered."""
        said = {"d{}/reading/pot": b'{"v":1,"n":1,"b":"k"}', "pot/reading/s{}": b"1", "pot/pin/p{}/state": b'{"v":1}'}
        for number in range(first, first + 300):
            for topic, payload in said.items():
                received = Received(f"pinloop/{topic.format(number)}", payload, False, 1, 1, 0, NOW_NS)
                translator.batch([received], 1000)
        translator.rejected()
        return len(pickle.dumps(assembler))

    assert strange(0) == strange(300)


def test_what_makes_the_quick_way_quick_is_bounded_for_all_devices_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is forgotten as a whole, and is back with the next reading."""
    monkeypatch.setattr(assemble, "_MOST_SETS", 10)
    assembler = Assembler()
    translator = Translator(Decoder("pinloop"), assembler)
    for number in range(200):
        received = Received(f"pinloop/d{number % 50}/reading/pot", b"%d" % number, False, 1, 1, 0, NOW_NS + number)
        batch = translator.batch([received], 1000)
        assert {"pot": number} in [point.fields for point in batch.points]
        assert len(assembler._steady) < 10
