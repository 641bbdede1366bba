"""The rules: can the file be used, who evaluates what, and does the service run what the file says."""

from collections.abc import Iterator, Sequence
from typing import Any

from pinloop.doctor.ask import NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from rules.check import check

__all__ = ["check_rules"]


def check_rules(target: Target) -> Iterator[Finding]:
    """Look at the file where it can be seen, else ask the service for it."""
    loaded = _loaded(target)
    problems: Sequence[str] = ()
    engines: list[str] = []
    if target.rules_path is not None and (target.services or target.rules_path.exists()):
        where = str(target.rules_path)
        report = check(target.rules_path)
        problems, engines = [str(one) for one in report.problems], [rule.engine for rule in report.rules]
        names = {rule.name for rule in report.rules}
    elif loaded:
        where, problems = loaded["path"], loaded["problems"]
        engines = [rule["engine"] for rule in loaded["rules"]]
        names = {rule["name"] for rule in loaded["rules"]}
    else:
        return
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        yield broken(
            "rules file",
            f"{problems[0]}{more}.",
            f"Mend {where}; `pinloop rules check` lists every mistake. The rules of before hold until a restart.",
        )
        return
    if not engines and target.mode == "stack":
        yield fine("rules file", f"{where} has no rule for this service; rules with `engine: grafana` are Grafana's.")
        return
    if not engines:
        yield warning("rules file", f"{where} has no rules.", "Write one: docs/rules.md.")
        return
    yield fine("rules file", f"{where}: {_shares(target, engines)}.")
    running = {rule["name"] for rule in loaded["rules"]} if loaded else names
    if target.mode == "local" and running != names:
        yield warning(
            "rules running",
            f"The service runs other rules than the file has: {', '.join(sorted(running ^ names))}.",
            f"It reads the file anew within a second or two; when this stays, {target.again}.",
        )


def _shares(target: Target, engines: Sequence[str]) -> str:
    rules = f"{len(engines)} rule{'s' * (len(engines) != 1)}"
    if target.mode == "local" or "grafana" not in engines:
        return f"{rules}, evaluated here as readings arrive"
    return f"{rules}, {engines.count('grafana')} of them evaluated by Grafana"


def _loaded(target: Target) -> dict[str, Any] | None:
    try:
        found = ask(f"{target.services['rules']}/rules").json()
    except (KeyError, NoAnswer):
        return None
    return found if isinstance(found, dict) and "rules" in found else None
