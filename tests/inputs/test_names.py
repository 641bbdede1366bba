"""Names of others in our grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import TopicError
from contract.topics import is_device, is_name
from inputs.base import Context
from inputs.names import MOST_NAME_CHARS, RESERVED, device_id, sensor_name
from store.points import RESERVED as KEPT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasmota", "tasmota"),
        ("Living Room", "living-room"),
        ("AA:BB:CC:00:11:22", "aa-bb-cc-00-11-22"),
        ("kitchen/Floor light", "kitchen-floor-light"),
        ("0x00158d0001abcdef", "0x00158d0001abcdef"),
        ("Küche", "kuche"),
        ("__x__", "x"),
        ("a-very-long-name-of-a-device-in-the-garden", "a-very-long-name-of-a-d_6dd87b30"),
    ],
)
def test_a_foreign_device_gets_an_id(text: str, expected: str) -> None:
    """Lower case, dashes for what is no letter or digit; too long: cut, with a hash of the whole."""
    assert device_id(text) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("DS18B20-1", "Temperature"), "ds18b20_1_temperature"),
        (("ENERGY", "ApparentPower"), "energy_apparent_power"),
        (("switch:0", "aenergy", "total"), "switch_0_aenergy_total"),
        (("POWER",), "power"),
        (("eCO2",), "e_co2"),
        (("0",), "s0"),
        (("time",), "time_value"),
        (("n",), "n_value"),
    ],
)
def test_a_path_becomes_a_sensor(path: tuple[str, ...], expected: str) -> None:
    """Words joined by underscores; what the store keeps for itself gets another name."""
    assert sensor_name(path) == expected


@given(st.text(max_size=60))
def test_whatever_it_is_called_it_is_in_our_grammar_or_refused(text: str) -> None:
    """And always the same."""
    for make, good in ((device_id, is_device), (lambda one: sensor_name((one,)), is_name)):
        try:
            made = make(text)
        except TopicError as error:
            assert error.reason in ("device", "name", "size")  # noqa: PT017  (one of two outcomes)
        else:
            assert good(made)
            assert make(text) == made
            assert made not in RESERVED or make is device_id


def test_the_stores_own_names_are_known() -> None:
    """Rules know no store, so the names stand twice."""
    assert RESERVED == KEPT


def test_two_long_names_stay_two() -> None:
    """They are alike for longer than a name may be."""
    assert device_id("a" * 40 + "1") != device_id("a" * 40 + "2")


def test_a_device_with_a_very_long_name_is_refused() -> None:
    """Names of devices are remembered; a sensor's, which is only translated, may be as long as it likes."""
    assert is_device(device_id("a" * MOST_NAME_CHARS))
    with pytest.raises(TopicError, match="is longer than 128 characters") as caught:
        Context().device("tasmota", "a" * (MOST_NAME_CHARS + 1))
    assert caught.value.reason == "size"
    assert is_name(sensor_name(("a" * 60_000,)))


def test_two_devices_never_become_one() -> None:
    """The second one is refused until the file names it; the first keeps its id."""
    context = Context({"zigbee2mqtt/living-room": "lounge"})
    assert context.device("zigbee2mqtt", "Living Room") == "living-room"
    assert context.device("zigbee2mqtt", "Living Room") == "living-room"
    with pytest.raises(
        TopicError, match=r"which is 'Living Room' of zigbee2mqtt: give it a name in \[devices\]"
    ) as caught:
        context.device("tasmota", "living_room".replace("_", "-"))
    assert caught.value.reason == "collision"
    assert context.device("zigbee2mqtt", "living-room") == "lounge"
    with pytest.raises(TopicError, match=r"'lounge', which \[devices\] gives to another"):
        context.device("tasmota", "lounge")
