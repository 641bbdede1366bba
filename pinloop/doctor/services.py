"""The services: does each answer and what does its own /readyz say, are the clocks right, is each there once."""

import re
import time
from collections.abc import Iterator, Mapping

from pinloop.doctor.ask import Answer, NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from service.usage import version

__all__ = ["Rivals", "check_services"]

_SKEW_S = 2.0
# Two services of one name throw one another out at least this often.
_RIVALS_S = 2.5
# For warnings whose own words do not say it.
_ADVICE = {
    "dead letters": "`pinloop deadletter list` says why they could not be stored; mend that, then `replay --all`.",
    "certificate": "Renew the certificate of its HTTPS port (docs/tls.md): the service takes it over by itself.",
    "senders of alerts": "Give the sender the alert password of the secrets folder; Grafana reads it when it starts.",
    "dry_run": "Nothing, while pins are tried out; `dry_run` in its settings or the pins file ends it.",
}


def check_services(target: Target) -> Iterator[Finding]:
    """Ask every service's /readyz; report their problems, versions and clocks."""
    answers: dict[str, Answer] = {}
    for name, url in target.services.items():
        try:
            answers[name] = ask(f"{url}/readyz")
        except NoAnswer as error:
            advice = f"Look at {target.log_of(name)}, then {target.again}."
            yield broken(name, f"{url} {error}.", advice)
            continue
        yield _ready(target, name, answers[name])
        yield from _warned(target, name, answers[name])
    yield from _clocks(answers)
    yield from _versions(target, answers)


def _ready(target: Target, name: str, answer: Answer) -> Finding:
    said = answer.json()
    if answer.status == 200 and said.get("ok") is True:
        return fine(name, f"{target.services[name]} is ready.")
    problems = said.get("problems") if isinstance(said, dict) else None
    if not problems:
        return broken(
            name,
            f"{target.services[name]}/readyz answers {answer.status} and nothing of ours.",
            "Another program has its port: stop that, or move ours.",
        )
    told = "; ".join(f"{check}: {problem}" for check, problem in problems.items())
    return broken(name, f"It runs and is not ready: {told}.", _advice(target, name, problems))


def _warned(target: Target, name: str, answer: Answer) -> Iterator[Finding]:
    """Report what the service works without."""
    said = answer.json()
    for what, told in (said.get("warnings") or {} if isinstance(said, dict) else {}).items():
        yield warning(name, f"{what}: {told}.", _ADVICE.get(what, f"Look at {target.log_of(name)}."))


def _advice(target: Target, name: str, problems: Mapping[str, str]) -> str:
    todo = {
        "broker": "Look at the findings on the broker.",
        "store": "Look at the findings on the store; the listener holds the readings until it is back.",
        "webhook": "Look at the findings on the webhook.",
        "rules": "Mend the rules file (`pinloop rules check`); until then the rules of before hold.",
        "pins": "Mend the pins file (`pinloop pins check`); until then what it said before holds.",
        "routes": "Mend the routes file (`pinloop routes check`); until then the routes of before hold.",
        "state": "Free space on the disk and look at the rights of its folder.",
        "queue": "The store is slower than the readings come: look at the findings on the store and the disk.",
    }
    known = [todo[check] for check in problems if check in todo]
    return " ".join(dict.fromkeys(known)) or f"Look at {target.log_of(name)}."


def _clocks(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    ahead_s = {name: answer.ahead_s for name, answer in answers.items() if answer.ahead_s is not None}
    wrong = {name: value for name, value in ahead_s.items() if abs(value) > _SKEW_S}
    if wrong:
        told = ", ".join(f"{name} by {value:+.0f} s" for name, value in wrong.items())
        yield warning(
            "clocks",
            f"Clocks differ from this machine's: {told}.",
            "Let every machine take its time from NTP (timedatectl set-ntp true): claims and daily rules end by it.",
        )
    elif ahead_s:
        yield fine("clocks", f"The clocks of {', '.join(ahead_s)} agree with this one within {_SKEW_S:g} s.")


def _versions(target: Target, answers: Mapping[str, Answer]) -> Iterator[Finding]:
    found = {name: str(said.get("version")) for name, answer in answers.items() if (said := answer.json())}
    others = {name: said for name, said in found.items() if said != version()}
    if others:
        told = ", ".join(f"{name} {said}" for name, said in others.items())
        yield warning(
            "versions",
            f"This is Pinloop {version()}, but {told} run.",
            f"They were started before an upgrade: {target.again}.",
        )
    elif found:
        yield fine("versions", f"Pinloop {version()} everywhere.")


class Rivals:
    """Two processes of one service throw one another off the broker: it shows in how often each has connected.

    Counts when it is made; `check` counts again some seconds later.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._began_s = time.monotonic()
        self._before = self._counts()

    def check(self) -> Iterator[Finding]:
        """Compare."""
        time.sleep(max(0.0, self._began_s + _RIVALS_S - time.monotonic()))
        after = self._counts()
        more = {name: after[name] - self._before[name] for name in after if name in self._before}
        restless = [f"{name} ({count:.0f} times)" for name, count in more.items() if count > 0]
        if restless:
            yield broken(
                "one of each",
                f"Connected anew to the broker while it was watched: {', '.join(restless)}.",
                "A second instance with the same broker account throws it out, or the broker restarts: stop the other"
                " instance, or look at the broker's log.",
            )
        elif more:
            yield fine("one of each", "Every service keeps its connection; no second one is taking it over.")

    def _counts(self) -> dict[str, float]:
        found = {}
        for name, url in self._target.services.items():
            try:
                text = ask(f"{url}/metrics").text
            except NoAnswer:
                continue
            match = re.search(r"^mqtt_connects_total (\S+)$", text, re.MULTILINE)
            if match:
                found[name] = float(match[1])
        return found
