"""One writer: a second webhook refuses to start, and the first does not notice more than a blink."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.broker import Client
from tests.support.wait import until
from webhook.sole import Sole


def test_it_gives_up_after_three_takeovers_unless_it_stood() -> None:
    """A broker that is restarted once or twice while a webhook starts is no other webhook."""
    given_up: list[bool] = []
    stood = [False]
    sole = Sole("pinloop-webhook", lambda: stood[0], lambda: given_up.append(True))
    for _ in range(2):
        sole.disconnected()
    stood[0] = True
    for _ in range(5):
        sole.disconnected()
    assert (given_up, sole.problem) == ([], "")
    stood[0] = False
    for _ in range(3):
        sole.disconnected()
    assert given_up == [True]
    assert "--mqtt-prefix" in sole.problem


def test_a_second_webhook_with_its_own_database_gives_up_and_touches_nothing(
    make_webhook: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    """It would have cleared the first one's commands: nobody claims them in its database."""
    first = make_webhook().start()
    commands = client.collect("pinloop/lights/pin/red/set")
    first.alert("a", "lights/red=1")
    commands.until(lambda message: message.payload)
    until(lambda: "broker heard out" in first.process.text(), 5, "the first one stands")
    second = make_webhook(claims_path=tmp_path / "second" / "claims.db").launch()
    assert second.wait(15) == 1
    assert "another webhook uses this broker" in second.text().splitlines()[-1]
    until(lambda: first.call("GET", "/readyz")[0] == 200, 5, "the first one is back")
    first.alert("b", "lights/red=5")
    commands.until(lambda message: b'"v":5' in message.payload)
    assert all(message.payload for message in commands)
