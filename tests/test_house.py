"""The rules of the house that a machine can keep: import directions, sizes, no left-overs."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("contract", "service", "store", "inputs", "listener", "rules", "webhook", "hub", "pinloop", "firmware")

# package -> the packages of ours that it may import, besides itself
MAY_IMPORT = {
    "contract": set(),
    "service": {"contract"},
    "store": {"contract", "service"},
    "inputs": {"contract", "service"},
    "listener": {"contract", "service", "store", "inputs"},
    "rules": {"contract", "service", "inputs"},
    "webhook": {"contract", "service"},
    "hub": {"contract", "service", "store"},
    "pinloop": set(PACKAGES),
    "firmware": {"contract"},
}


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks (or would), so that build results do not count."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def imported(path: Path) -> set[str]:
    """Return the top packages that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_architecture_allows(package: str):
    """Services speak MQTT and HTTP with one another; they never import one another."""
    modules = tracked(f"{package}/*.py")
    assert modules
    for path in modules:
        ours = imported(path) & set(PACKAGES) - {package}
        assert ours <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {ours - MAY_IMPORT[package]}"


def test_the_contract_uses_only_what_micropython_has():
    """It is flashed as it is."""
    for path in tracked("contract/*.py"):
        assert imported(path) <= {"contract", "json", "sys", "os"}, path


def test_what_is_installed_with_the_services_is_used_by_them():
    """What only a benchmark or a test imports belongs into the extra `dev`; what a service imports is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=]", one)[0] for one in project["dependencies"]}
    # tzdata is read by zoneinfo; the others are imported under another name.
    names = {"paho": "paho-mqtt", "yaml": "pyyaml", "prometheus_client": "prometheus-client"}
    services = [path for package in PACKAGES if package != "firmware" for path in tracked(f"{package}/*.py")]
    used = {names.get(one, one) for path in services for one in imported(path)}

    assert declared - used == {"tzdata"}
    assert used - declared - set(PACKAGES) - sys.stdlib_module_names == {"amqtt"}  # of the extra `local`


def test_no_module_has_grown_a_second_subject():
    """Past 400 lines it is time to look for one."""
    for path in tracked("*.py", "*.js", "*.css", "*.html"):
        if "vendor" not in path.parts:
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"


def test_every_module_says_what_it_is():
    """A docstring of a few lines: what it does, where it sits in the flow."""
    for package in PACKAGES:
        for path in tracked(f"{package}/*.py"):
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.relative_to(ROOT)


def test_nothing_is_left_for_later_and_nothing_names_the_machine_it_was_made_on():
    """No notes to oneself, no path of a developer's machine, no package index."""
    # Written with a gap, so that this file does not hold what it looks for.
    gapped = r"\bTO~DO\b \bFIX~ME\b raise~\sNotImplementedError \.\.~/shared /wo~rk/ index~-url deb\.~debian pypi\.~org"
    forbidden = re.compile("|".join(gapped.replace("~", "").split()))
    texts = ("*.py", "*.md", "*.toml", "*.yml", "*.yaml", "*.sh", "*.js", "*.css", "*.html", "Makefile", ".ci/*")
    for path in tracked(*texts):
        found = forbidden.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)}: {found and found.group()}"
