"""Puts a real MicroPython (unix port) into a cache folder, without root: `make micropython`.

Debian's trixie has the package and bookworm has not, so the packages of
trixie are downloaded by apt (its signatures checked, its mirror taken from this
machine's own apt configuration) and unpacked beside the system, never
installed. A second run finds the first one's result and does nothing.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["FetchError", "cache_folder", "fetch", "launcher"]

_SUITE = "trixie"
# The interpreter and what `ldd` says it needs; libc6 because it was linked against a newer one than bookworm's.
_PACKAGES = ("micropython", "libc6", "libffi8", "libmbedcrypto16", "libmbedtls21", "libmbedx509-7")


class FetchError(Exception):
    """MicroPython could not be fetched; the message says why and what to do instead."""


def cache_folder() -> Path:
    """Return the checkout's `.cache/micropython`, or the user's cache when this is an installed package."""
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").exists():
        return root / ".cache" / "micropython"
    return Path.home() / ".cache" / "pinloop" / "micropython"


def launcher(folder: Path) -> list[str] | None:
    """Return the command that starts the MicroPython unpacked in `folder`, None when there is none."""
    program = folder / "usr" / "bin" / "micropython"
    # Debian's multiarch folders; the loader's own name differs by architecture (ld-linux-x86-64.so.2, ...).
    libraries = sorted((folder / "usr" / "lib").glob("*-linux-gnu*"))
    loaders = [path for library in libraries for path in sorted(library.glob("ld-linux*.so*"))]
    if not program.exists() or not loaders:
        return None
    return [str(loaders[0]), "--library-path", str(libraries[0]), str(program)]


def fetch(folder: Path, quiet: bool = False) -> list[str]:
    """Fill `folder` unless it is filled, and return the command that starts MicroPython.

    Raises:
        FetchError: no apt, no Debian mirror in its configuration, no connection, or a result that does not start.
    """
    command = launcher(folder)
    if command:
        if not quiet:
            print(f"micropython: {_version(command)} is already in {folder}")
        return command
    for tool in ("apt-get", "dpkg-deb", "dpkg"):
        if not shutil.which(tool):
            raise FetchError(f"{tool} is not here; install MicroPython yourself and set MICROPYTHON to its path")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as scratch:
        unpacked = _download(Path(scratch))
        command = launcher(unpacked)
        if not command:
            raise FetchError("the packages do not hold what was expected; set MICROPYTHON to a MicroPython of yours")
        version = _version(command)
        if folder.exists():
            shutil.rmtree(folder)
        unpacked.rename(folder)
    print(f"micropython: {version} is ready in {folder}")
    return launcher(folder) or []


def _download(scratch: Path) -> Path:
    """Download the packages with an apt state of our own below `scratch`, and return where they are unpacked."""
    mirror, options = _mirror()
    for name in ("lists/partial", "cache/archives/partial", "debs", "unpacked"):
        (scratch / name).mkdir(parents=True)
    (scratch / "sources.list").write_text(f"deb {options}{mirror} {_SUITE} main\n")
    settings = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",  # `_apt` may not enter the scratch folder
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "-q", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    print(f"micropython: reading the package list of Debian {_SUITE}", flush=True)
    _run([*apt, "update"], scratch)
    print(f"micropython: downloading {len(_PACKAGES)} packages", flush=True)
    architecture = _run(["dpkg", "--print-architecture"], scratch).strip()
    _run([*apt, "download", *(f"{package}:{architecture}" for package in _PACKAGES)], scratch / "debs")
    for package in sorted((scratch / "debs").glob("*.deb")):
        print(f"micropython: unpacking {package.name}", flush=True)
        _run(["dpkg-deb", "-x", str(package), str(scratch / "unpacked")], scratch)
    return scratch / "unpacked"


def _mirror() -> tuple[str, str]:
    """Return the address of a Debian mirror that this machine's apt uses, and the options that its line had."""
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"], Path("/"))
    for line in listed.splitlines():
        uri, _, _ = line.partition(" ")
        if uri.rstrip("/").endswith("/debian"):
            keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
            return uri, f"[signed-by={keyring}] " if keyring.exists() else ""
    raise FetchError(
        "apt's configuration names no Debian mirror (only .../debian will do); "
        "install MicroPython (Ubuntu: apt-get install micropython) or set MICROPYTHON to its path"
    )


def _run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise FetchError(f"`{' '.join(words[:1] + words[-1:])}` failed: {' / '.join(lines[-3:])}")
    return done.stdout


def _version(command: list[str]) -> str:
    code = "import sys; print('MicroPython %d.%d.%d' % sys.implementation.version[:3])"
    return _run([*command, "-c", code], Path("/")).strip()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fetch MicroPython's unix port for the virtual devices.")
    parser.add_argument("folder", type=Path, nargs="?", default=cache_folder(), help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="say nothing when it is there already")
    options = parser.parse_args()
    try:
        fetch(options.folder.resolve(), options.quiet)
    except FetchError as error:
        print(f"micropython: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
