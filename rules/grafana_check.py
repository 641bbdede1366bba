"""What Grafana would reject in a provisioning folder, file by file, before it does not start.

Grafana 13 ends at the first broken file of `alerting/`, and reads past keys that
it does not know: both are found here, with the line. Reads files; knows no
Grafana.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rules import grafana_values as values
from rules.errors import Problem, RulesError
from rules.grafana_policies import contact_points, policies
from rules.grafana_rules import Known, groups, items
from service.block import Block, Problems, one_of
from service.document import parse

__all__ = ["rejected"]

_SUFFIXES = (".yaml", ".yml", ".json")
_ALERTING_KEYS = (
    "apiVersion", "groups", "deleteRules", "contactPoints", "deleteContactPoints", "policies", "resetPolicies",
    "templates", "deleteTemplates", "muteTimes", "deleteMuteTimes",
)  # fmt: skip
_SOURCE_FILE_KEYS = ("apiVersion", "prune", "datasources", "deleteDatasources")
_SOURCE_KEYS = (
    "name", "uid", "orgId", "type", "access", "url", "user", "database", "isDefault", "editable", "version", "jsonData",
    "secureJsonData", "basicAuth", "basicAuthUser", "withCredentials", "correlations",
)  # fmt: skip

_Files = dict[str, tuple[Problems, Block]]


def rejected(folder: Path, instead: "Mapping[Path, str] | None" = None) -> list[Problem]:
    """Return what Grafana would reject, ignore or take dangerously in a provisioning folder.

    Args:
        folder: holds `alerting/` and `datasources/`; one that is missing is empty.
        instead: texts that stand for (or beside) the files there are.
    """
    found: list[Problem] = []
    known = Known()
    sources = _read(folder / "datasources", "a file of data sources", _SOURCE_FILE_KEYS, instead or {}, found)
    alerting = _read(folder / "alerting", "a file of alerting", _ALERTING_KEYS, instead or {}, found)
    for problems, file in sources.values():
        _data_sources(problems, file, known)
    for problems, file in alerting.values():  # first: policies name contact points of any file
        known.receivers |= contact_points(problems, items(file, "contactPoints"))
    for path, (problems, file) in alerting.items():
        file.required("apiVersion", one_of(("1",)))
        groups(problems, path, items(file, "groups"), known)
        policies(problems, items(file, "policies"), known)
    for problems, file in alerting.values():
        _deleted(problems, file, known)
    for problems, _ in (*sources.values(), *alerting.values()):
        found += problems.found
    return sorted(set(found))


def _read(folder: Path, what: str, keys: Sequence[str], instead: Mapping[Path, str], found: list[Problem]) -> _Files:
    """Return path -> its block; what cannot be read is added to `found`."""
    texts = {path: text for path, text in instead.items() if path.parent == folder}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path in texts:
            continue
        if path.suffix not in _SUFFIXES:
            found.append(Problem(str(path), 0, "", "", f"is not one of {' '.join(_SUFFIXES)}: Grafana does not start"))
            continue
        try:
            texts[path] = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError) as error:
            found.append(Problem(str(path), 0, "", "", f"cannot be read ({error})"))
    files: _Files = {}
    for path, text in sorted(texts.items()):
        problems = Problems(str(path))
        try:
            root = parse(text, str(path))
        except RulesError as error:
            found += error.problems
            continue
        if root.value:  # Grafana reads past an empty file
            files[str(path)] = problems, Block(problems, root, what, keys)
    return files


def _data_sources(problems: Problems, file: Block, known: Known) -> None:
    for node in items(file, "datasources"):
        source = Block(problems, node, "a data source", _SOURCE_KEYS)
        source.required("name", values.filled)
        source.required("type", values.filled)
        uid = source.required("uid", values.uid)
        if uid in known.data_sources:
            source.add("uid", f"'{uid}' is used twice")
        known.data_sources |= {uid} if uid else set()


def _deleted(problems: Problems, file: Block, known: Known) -> None:
    for node in items(file, "deleteRules"):
        rule = Block(problems, node, "an element of deleteRules", ("orgId", "uid"), "deleteRules.")
        uid = rule.required("uid", values.uid)
        if uid in known.uids:
            rule.add("uid", f"'{uid}' is also a rule in {known.uids[uid]}: made and deleted at every start")
