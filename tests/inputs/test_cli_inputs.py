"""`pinloop inputs` and `pinloop gateway`: what people see."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inputs import Readings
from inputs.declared import NONE, load, parse
from inputs.gateway.accounts import holder
from pinloop.cli import main
from pinloop.learned import Learner
from tests.support.broker import Broker, Client
from tests.support.processes import Child
from tests.support.wait import until


def run(*words: object, code: int = 0, stdin: str | bytes = "") -> Result:
    """Run a command in a place of its own."""
    result = CliRunner().invoke(main, [str(word) for word in words], input=stdin)
    assert result.exit_code == code, result.output
    return result


def test_check_lists_what_is_declared(tmp_path: Path) -> None:
    """Inputs with their filters, what is asked, gateways."""
    path = tmp_path / "inputs.toml"
    path.write_text('[tasmota]\n[isems]\nnodes = ["10.0.0.1"]\n')
    assert "tasmota\ttele/+/SENSOR" in run("inputs", "check", path).output
    found = json.loads(run("inputs", "check", path, "--json").output)
    assert found["asked"] == ["http://10.0.0.1/ISEMS/ffopenmppt.log"]
    assert [one["input"] for one in found["inputs"]] == ["tasmota", "isems"]


def test_check_says_the_first_mistake(tmp_path: Path) -> None:
    """With its table, key, value and rule; exit 1."""
    path = tmp_path / "inputs.toml"
    path.write_text("[tasmota]\ntele = 7\n")
    assert "inputs.toml: tasmota: tele: 7 is not text in quotes" in run("inputs", "check", path, code=1).output


def test_try_prints_what_would_be_stored(tmp_path: Path) -> None:
    """As line protocol; what is left out, with why."""
    said = run("inputs", "try", "tele/plug/SENSOR", '{"ENERGY":{"Power":12,"TotalStartTime":"x"}}').output
    assert "input: tasmota" in said
    assert "stored: readings,device=plug energy_power=12.0 " in said
    assert "left out: ENERGY.TotalStartTime (text)" in said
    found = json.loads(run("inputs", "try", "pinloop/pot/reading/pot", "-", "--json", stdin="61.5").output)
    assert found["input"] == "pinloop"
    assert any(line.startswith("readings,device=pot pot=61.5 ") for line in found["lines"])
    file = tmp_path / "payload"
    file.write_text("on")
    assert "relay_0=1.0" in run("inputs", "try", "shellies/x/relay/0", f"@{file}").output


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        ("tele/plug/SENSOR", "{", "refused: json: SENSOR: '{' is not JSON"),
        ("nobody/knows", "1", "input: none reads this topic"),
        ("pinloop/pot/reading/pot", "x", "refused: number: reading: 'x' is not a number"),
        ("zigbee2mqtt/bridge/state", "{}", "stored: nothing; this message is about no reading"),
        ("/isems/x/csvlog", "broken", "refused: shape: line 1: 1 fields are not 18 or 19"),
    ],
)
def test_try_says_why_nothing_is_stored(topic: str, payload: str, said: str) -> None:
    """Exit 1."""
    assert said in run("inputs", "try", topic, payload, code=1).output


MESSAGES = [
    ("pinloop/pot/reading/pot", "1"),
    ("tele/plug/SENSOR", '{"AM2301":{"Temperature":21}}'),
    ("/pot", "42"),
    ("garden/bed 1/air", '{"main":{"temp":21.5,"a.b":1},"ts":1763690000}'),
    ("garden/bed 2/air", '{"main":{"temp":22.5,"a.b":2},"ts":1763690001}'),
    ("notes/today", "buy milk"),
    ("bin", b"\xff\x00"),
]


def test_what_is_learnt_is_a_file_that_reads_those_messages() -> None:
    """Known firmware by its table, numbers, JSON whose topics differ in one level; the rest as comments."""
    learner = Learner(NONE, "pinloop")
    for topic, payload in MESSAGES:
        learner.take(topic, payload if isinstance(payload, bytes) else payload.encode())
    text = learner.toml()
    assert "[tasmota]" in text
    assert '"/pot" = "pot/pot"' in text
    assert "# notes/today: 'buy milk'" in text
    known = parse(text)
    assert sorted(known.filters())[:2] == ["/pot", "garden/+/air"]
    [fact, *_] = known.decode("garden/bed 2/air", b'{"main":{"temp":22.5,"a.b":2},"ts":1763690001}')
    assert isinstance(fact, Readings)
    assert (fact.device, fact.samples[0].values) == ("bed-2", {"main_temp": 22.5, "main_a_b": 2})
    assert fact.samples[0].t_s == 1763690001
    again = Learner(known, "pinloop")
    for topic, payload in MESSAGES[:5]:
        again.take(topic, str(payload).encode())
    assert again.toml() == ""


def test_learn_watches_a_broker_and_ctrl_c_keeps_what_was_learnt(
    spawn,
    broker: Broker,
    client: Client,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    """The tables go to the file."""
    import signal

    out = tmp_path / "more.toml"
    client.publish("/pot", "42", retain=True)
    child: Child = spawn(
        ["python", "-m", "pinloop", "inputs", "learn", "--for", "600", "--host", broker.host, "--port", broker.port,
         "--out", out]
    )  # fmt: skip
    until(lambda: "1 unknown topics" in child.text(), 15, "it has seen the topic")
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 0, child.text()
    assert '"/pot" = "pot/pot"' in out.read_text()
    assert f"cat {out} >> data/inputs.toml; pinloop inputs check" in child.text()


def test_what_is_learnt_can_go_into_a_file_by_the_shell(broker: Broker, client: Client) -> None:
    """Standard output is TOML and nothing else: what the session logs goes elsewhere."""
    client.publish("/pot", "42", retain=True)
    words = ["inputs", "learn", "--for", "1", "--host", broker.host, "--port", broker.port]
    command = [sys.executable, "-m", "pinloop", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert tomllib.loads(done.stdout) == {"numbers": {"/pot": "pot/pot"}}


def test_a_gateway_is_added_listed_and_removed(tmp_path: Path) -> None:
    """The token is printed once, its hash is kept, and nothing else of the file changes."""
    path = tmp_path / "inputs.toml"
    before = "# mine\n[tasmota]\n\n## later\n# [homie]\n"
    path.write_text(before)
    token = run("gateway", "add", "roof", "--file", path, "--name", "gw", "--device", "aa:bb=bed-1").output.split()[0]
    assert token not in path.read_text()
    account = holder(load(path).gateways, token)
    assert account is not None
    assert (account.id, account.name, account.devices) == ("roof", "gw", {"aa:bb": "bed-1"})
    run("gateway", "add", "cellar", "--file", path, "--device", "Küche")
    assert run("gateway", "list", "--file", path).output == "roof\tgw\taa:bb=bed-1\ncellar\t-\tKüche=kuche\n"
    run("gateway", "add", "roof", "--file", path, code=1)
    run("gateway", "remove", "roof", "--file", path)
    assert [one.id for one in load(path).gateways] == ["cellar"]
    run("gateway", "remove", "cellar", "--file", path)
    assert path.read_text().rstrip("\n") + "\n" == before
    run("gateway", "remove", "cellar", "--file", path, code=1)
    run("gateway", "add", "Roof!", "--file", path, code=2)
