"""DRY_RUN=1 in .env: the webhook decides and shows everything, and no command leaves it."""

from tests.stack.checks import RIGHT_WITHIN_S, until_pins
from tests.stack.compose import Stack
from tests.stack.load import Wishes
from tests.support.wait import until


def test_in_dry_run_an_alert_is_decided_and_nothing_is_published(stack: Stack, wishes: Wishes) -> None:
    """Seen at the broker with the rights of the device itself; without dry-run the same claim is commanded at once."""
    wishes.green(0)
    until_pins(stack, {"red": 0, "green": 0})
    stack.switch(DRY_RUN="1")
    with stack.client("lights", stack.secret("lights")) as device:
        told = device.collect("pinloop/lights/pin/green/set")
        wishes.green(1)

        def decided() -> bool:
            why = stack.operate("/pins/lights/green/why")
            return bool(why["desired"] and why["desired"]["value"] == 1 and why["changes"][0]["dry_run"])

        until(decided, RIGHT_WITHIN_S, "it is decided, and noted as dry", every_s=0.1)
        stack.operate("/pins/lights/green", {"value": 1, "for": "1m", "by": "a person"}, "PUT")  # answered: done
        device.publish("pinloop/lights/log", "all of that came before this")
        assert [message.payload for message in told if message.payload] == []
        assert stack.pins() == {"red": 0, "green": 0}
        stack.operate("/pins/lights/green", None, "DELETE")

        stack.switch(DRY_RUN="0")
        until_pins(stack, {"red": 0, "green": 1})
        assert b'"v":1' in told.until(lambda message: message.payload).payload
    wishes.green(0)
    until_pins(stack, wishes.wanted)
