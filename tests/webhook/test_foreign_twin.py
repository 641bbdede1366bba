"""A twin: leases, order, safe values and honest states for a firmware that knows none of them."""

import json
import math

import pytest

from contract.topics import Topics
from webhook.foreign.model import Message
from webhook.foreign.twin import Twin
from webhook.routes_file import parse_routes

ON = Message("heating/switch/relay/command", b"ON")
OFF = Message("heating/switch/relay/command", b"OFF")
STATE = "heating/switch/relay/state"


class Stage:
    """An ESPHome relay, its twin and the time."""

    def __init__(self, kind: str = "kind: esphome, topic: heating", pin: str = "entity: switch/relay") -> None:
        text = f"version: 1\ndevices:\n  d: {{{kind}, pins: {{p: {{{pin}}}}}}}\n"
        self.declared = parse_routes(text).devices["d"]
        self.now_s = 0.0
        self.seq = 0
        self.begin()

    def begin(self, ended_s: float = -math.inf, now_s: float = 0) -> None:
        self.twin = Twin(self.declared, Topics(), {"p": ended_s}, now_s)

    def ask(self, value: float | None, ttl_s: int = 300, seq: int = 0, retained: bool = False) -> list[Message]:
        self.seq = seq or self.seq + 1
        command = {"v": value, "seq": self.seq, "epoch": "e", "ttl": ttl_s, "by": "test"}
        payload = b"" if value is None else json.dumps(command).encode()
        return self.twin.asked("p", payload, retained, self.now_s)

    def there(self) -> list[Message]:
        return self.twin.heard("heating/status", b"online", False)

    def says(self, word: str, retained: bool = False) -> tuple[float, int, str] | None:
        return state(self.twin.heard(STATE, word.encode(), retained))


def state(messages: list[Message]) -> tuple[float, int, str] | None:
    """Return the state among the messages, as (value, seq, why)."""
    found = [json.loads(one.payload) for one in messages if one.topic == "pinloop/d/pin/p/state" and one.payload]
    return (found[-1]["v"], found[-1]["seq"], found[-1]["why"]) if found else None


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_command_is_passed_on_and_told_when_the_device_says_so(stage: Stage) -> None:
    """Not before: the state is the device's word."""
    stage.there()
    assert stage.ask(1) == [ON]
    assert stage.says("ON") == (1, 1, "command")


def test_a_renewal_keeps_the_lease_and_does_not_bother_the_device(stage: Stage) -> None:
    """It is already what it should be, and says nothing twice: the twin answers for it."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    renewed = stage.ask(1)
    assert ON not in renewed
    assert state(renewed) == (1, 2, "command")
    stage.now_s = 299
    assert stage.twin.tick(stage.now_s) == []


def test_a_dead_mans_switch_is_wound_up_with_every_renewal() -> None:
    """The timer runs in the device, so each renewal has to reach it."""
    stage = Stage("kind: shelly2, topic: s", "dead_man: true")
    stage.twin.heard("s/online", b"true", False)
    first = [json.loads(one.payload)["params"] for one in stage.ask(1, ttl_s=60) if one.topic == "s/rpc"]
    stage.twin.heard("s/status/switch:0", b'{"output":true}', False)
    again = [json.loads(one.payload)["params"] for one in stage.ask(1, ttl_s=45) if one.topic == "s/rpc"]
    assert (first[0], again[0]) == (
        {"id": 0, "on": True, "toggle_after": 60},
        {"id": 0, "on": True, "toggle_after": 45},
    )


@pytest.mark.parametrize(
    ("kind", "pin", "there", "on"),
    [
        ("kind: esphome, topic: h", "entity: switch/relay", ("h/status", b"online"), ("h/switch/relay/command", b"ON")),
        ("kind: shelly1, topic: s", "relay: 0", ("s/online", b"true"), ("s/relay/0/command", b"on")),
        ("kind: custom, status_topic: there", "topic: set", ("there", b"online"), ("set", b"ON")),
    ],
    ids=["esphome", "shelly1", "custom"],
)
def test_a_timer_that_is_set_on_the_device_is_wound_up_by_repeating_the_command(
    kind: str, pin: str, there: tuple[str, bytes], on: tuple[str, bytes]
) -> None:
    """No command could start it there, so the same one comes with every renewal; without `dead_man` it does not."""
    for dead_man, times in (("true", 3), ("false", 1)):
        stage = Stage(kind, f"{pin}, dead_man: {dead_man}")
        stage.twin.heard(*there, False)
        sent = stage.ask(1)
        for topic in stage.declared.firmware.reads:
            if topic not in (there[0],):
                stage.twin.heard(topic, on[1], False)
        sent += stage.ask(1) + stage.ask(1)
        assert [one for one in sent if one.topic == on[0]] == [Message(*on)] * times


def test_asking_a_tasmota_never_ends_its_timer() -> None:
    """POWER without a payload did, for years; STATE tells all relays in one answer."""
    stage = Stage("kind: tasmota, topic: k", "relay: 2, dead_man: true")
    asked = [one for one in stage.twin.greet() if one.topic.startswith("cmnd/")]
    assert asked == [Message("cmnd/k/STATE", b"")]
    stage.twin.heard("tele/k/LWT", b"Online", False)
    for topic in ("stat/k/RESULT", "stat/k/STATE"):
        stage.twin.forget()
        told = stage.twin.heard(topic, b'{"Time":"2026-01-01T00:00:00","POWER1":"OFF","POWER2":"ON"}', False)
        assert state(told) == (1, 0, "local")


def test_a_lease_that_is_not_renewed_ends_at_the_safe_value(stage: Stage) -> None:
    """The firmware knows no lease; its twin does."""
    stage.there()
    stage.ask(1, ttl_s=10)
    stage.says("ON")
    assert stage.twin.tick(9.9) == []
    assert stage.twin.tick(10.0) == [OFF]
    assert stage.says("OFF") == (0, 1, "expired")
    assert stage.twin.tick(99) == []


def test_a_release_is_told_when_it_is_seen(stage: Stage) -> None:
    """Until then the pin still follows the command, so that the webhook asks again."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    assert stage.ask(None) == [OFF]
    assert stage.twin.heard("heating/status", b"online", False)
    assert stage.says("ON") == (1, 1, "command")
    assert stage.ask(None) == [OFF]
    assert stage.says("OFF") == (0, 1, "released")


def test_somebody_at_the_button_is_overruled_while_a_command_stands(stage: Stage) -> None:
    """A state without the command's seq: the webhook sends the command again, and the twin passes it on."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    assert stage.says("OFF") == (0, 0, "local")
    assert stage.ask(1) == [ON]


def test_what_nobody_claims_belongs_to_who_switches_it(stage: Stage) -> None:
    """Pinloop never commanded the lamp: a release, a lost link and a new one leave it on."""
    stage.there()
    assert stage.says("ON") == (1, 0, "local")
    assert OFF not in stage.ask(None)
    assert OFF not in stage.there()
    stage.twin.forget()
    assert OFF not in [*stage.twin.greet(), *stage.twin.settle()]


def test_a_released_pin_belongs_to_who_switches_it_again(stage: Stage) -> None:
    """Once it was seen at its safe value, and half a minute later: until then a report may be late."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    stage.ask(None)
    stage.says("OFF")
    assert stage.says("ON") == (1, 1, "command")
    stage.says("OFF")
    stage.twin.tick(31)
    assert stage.says("ON") == (1, 1, "local")
    assert OFF not in stage.ask(None)


def test_an_off_of_before_that_is_reported_late_does_not_hide_that_the_pin_is_on(stage: Stage) -> None:
    """A new process took it for the end of the run; what it was told to end it ends when the device says "on"."""
    stage.there()
    stage.ask(1, retained=True)
    assert stage.says("OFF") == (0, 0, "released")
    assert OFF not in stage.ask(None)
    assert OFF in stage.twin.heard(STATE, b"ON", False)


@pytest.mark.parametrize(("ago_s", "sent"), [(29, [OFF]), (31, [])])
def test_an_on_of_before_that_is_reported_to_a_new_process_is_ended(
    stage: Stage, ago_s: float, sent: list[Message]
) -> None:
    """The end was reported by a late "off", just before the restart; later it is a hand's."""
    stage.begin(ended_s=1000 - ago_s, now_s=1000)
    stage.there()
    assert [one for one in stage.twin.heard(STATE, b"ON", False) if one == OFF] == sent


def test_a_pin_that_still_stands_is_not_ended_by_a_late_report(stage: Stage) -> None:
    """The webhook is about to say that its retained command holds: no blip in between."""
    stage.there()
    stage.ask(1, retained=True)
    stage.says("OFF")
    assert OFF not in stage.twin.heard(STATE, b"ON", False)


@pytest.mark.parametrize(("later_s", "sent"), [(119, [OFF]), (121, [])])
def test_a_device_that_says_nothing_when_it_is_safe_already_is_believed(
    stage: Stage, later_s: float, sent: list[Message]
) -> None:
    """A new process within a claim for off: hours after its end the lamp was switched off under somebody's hand."""
    stage.begin(ended_s=math.inf)
    stage.twin.heard("heating/status", b"online", True)
    stage.says("OFF", retained=True)
    stage.ask(0)
    stage.ask(None)
    stage.twin.tick(later_s)
    assert [one for one in stage.twin.heard(STATE, b"ON", False) if one == OFF] == sent


def test_a_device_that_was_away_is_not_believed_before_it_was_told_again(stage: Stage) -> None:
    """Nor after a new connection: what the broker keeps is from before the command for off."""
    stage.begin(ended_s=math.inf)
    stage.twin.heard("heating/status", b"online", True)
    stage.says("OFF", retained=True)
    stage.ask(None)
    stage.twin.heard("heating/status", b"offline", False)
    stage.twin.tick(500)
    assert OFF in stage.there()
    stage.twin.forget()
    stage.twin.heard("heating/status", b"online", True)
    stage.says("OFF", retained=True)
    stage.twin.tick(1000)
    assert OFF in stage.twin.settle()


def test_a_device_that_does_not_follow_is_not_believed_while_a_command_stands(stage: Stage) -> None:
    """Somebody switched it off within the claim; it comes on at last, and the end of the claim is sent to it."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    stage.ask(None)
    stage.says("OFF")
    stage.ask(1, ttl_s=3600)
    stage.twin.tick(1000)
    stage.says("ON")
    assert stage.ask(None) == [OFF]


def test_what_was_reported_before_a_new_connection_counts_no_more(stage: Stage) -> None:
    """It may have been switched meanwhile, and not every device tells that again: the command is passed on."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    stage.twin.forget()
    stage.twin.heard("heating/status", b"online", True)
    assert stage.ask(1) == [ON]


def test_a_release_that_was_never_seen_outlives_the_process(stage: Stage) -> None:
    """The database knows it: the device comes back on, and is not taken for somebody's lamp."""
    stage.begin(ended_s=math.inf)
    stage.there()
    assert stage.says("ON") == (1, 0, "command")
    assert stage.ask(None) == [OFF]


def test_a_release_while_the_connection_was_away_is_made_up_for(stage: Stage) -> None:
    """Nothing comes on `set` any more, not even retained: whatever stood there has ended."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    stage.twin.forget()
    stage.twin.greet()
    assert stage.twin.settle() == [OFF]


def test_a_retained_command_switches_nothing_and_keeps_the_pin(stage: Stage) -> None:
    """Its age is unknown; the webhook sends what still holds."""
    stage.there()
    assert stage.ask(1, retained=True) == []
    assert stage.twin.settle() == []
    assert stage.ask(1) == [ON]


def test_a_retained_command_ends_with_its_lease_though_its_webhook_is_never_heard(stage: Stage) -> None:
    """The twin started anew, and only its own connection stands: the relay must not stay on for ever."""
    stage.there()
    stage.ask(1, ttl_s=60, retained=True)
    stage.now_s = 30
    stage.ask(1, ttl_s=60, retained=True)  # again, with another new connection
    assert stage.twin.tick(59.9) == []
    assert stage.twin.tick(60) == [OFF]
    assert stage.says("OFF") == (0, 0, "expired")


def test_an_older_command_is_ignored(stage: Stage) -> None:
    """As on a device of ours."""
    stage.there()
    stage.ask(1, seq=10)
    assert stage.ask(0, seq=9) == []


def test_a_device_that_starts_anew_is_introduced_anew(stage: Stage) -> None:
    """Its info makes the webhook send every command that stands; what it reported before counts no more."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    topics = [one.topic for one in stage.there()]
    assert topics[:2] == ["pinloop/d/status", "pinloop/d/info"]
    assert stage.ask(1) == [ON]


def test_a_release_that_the_device_missed_is_sent_again_when_it_comes_back(stage: Stage) -> None:
    """It was on, lost its Wi-Fi, was released, and comes back on."""
    stage.there()
    stage.ask(1)
    stage.says("ON")
    stage.twin.heard("heating/status", b"offline", False)
    stage.ask(None)
    assert stage.there()[-1] == OFF
    assert stage.says("OFF") == (0, 1, "released")
    assert OFF not in stage.there()


def test_a_pin_that_nobody_reports_is_not_thought_released_while_its_device_is_away() -> None:
    """What was sent to nobody is sent again."""
    stage = Stage("kind: custom, status_topic: x/there", "topic: x/set")
    there, gone = (lambda: stage.twin.heard("x/there", b"online", False)), b"offline"
    there()
    assert state(stage.ask(1)) == (1, 1, "command")
    stage.twin.heard("x/there", gone, False)
    assert state(stage.ask(None)) is None
    assert Message("x/set", b"OFF") in there()


def test_what_is_retained_does_not_say_that_the_device_is_there(stage: Stage) -> None:
    """ESPHome keeps its last state at the broker, also when it is long gone."""
    assert stage.says("ON", retained=True) is None
    assert not stage.twin.online
    stage.says("ON")
    assert stage.twin.online


def test_a_retained_report_does_not_say_that_a_command_has_ended(stage: Stage) -> None:
    """The device was switched on and lost its link before it said so: what the broker keeps of it is older."""
    stage.begin(ended_s=math.inf)
    stage.says("OFF", retained=True)
    assert OFF in stage.twin.settle()
    assert OFF in stage.there()
    stage.says("OFF")
    assert OFF not in stage.there()


def test_what_a_later_declaration_switches_elsewhere_is_gone() -> None:
    """A pin that is at another relay now leaves the one where it was; its guards are no other place."""
    before, after = Stage("kind: tasmota, topic: k", "relay: 1"), Stage("kind: tasmota, topic: k", "relay: 2")
    guarded = Stage("kind: tasmota, topic: k", "relay: 1, max_on_s: 60")
    moved = Stage("kind: tasmota, topic: elsewhere", "relay: 1")
    gone = [before.declared.gone_in(one) for one in (after.declared, guarded.declared, moved.declared, None)]
    assert gone == [["p"], [], ["p"], ["p"]]


def test_a_pin_that_nobody_reports_is_thought_to_be_what_it_was_told() -> None:
    """And its info says so."""
    stage = Stage("kind: custom", "topic: x/set, payload: 'level={value}', safe: 5")
    assert stage.ask(40) == [
        Message("x/set", b"level=40"),
        Message("pinloop/d/pin/p/state", b'{"v":40,"seq":1,"why":"command"}', True),
    ]
    info = next(one for one in stage.twin.greet() if one.topic.endswith("/info"))
    assert json.loads(info.payload)["pins"]["p"] == {"safe": 5, "default": 5, "assumed": True}
    assert stage.ask(None)[0] == Message("x/set", b"level=5")


@pytest.mark.parametrize("payload", [b"", b"\xff", b"maybe", b"{", b'{"state":3}', b"[" * 5000, b"{}" * 40000])
def test_nonsense_of_a_device_is_refused(stage: Stage, payload: bytes) -> None:
    """Counted by the bridge, and no reason for anything else."""
    with pytest.raises(ValueError, match="."):
        stage.twin.heard(STATE, payload, False)
