"""The store and the other databases: can they be read and written. Whatever is written is rolled back."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from pinloop.doctor.ask import NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from store import StoreError, open_store

__all__ = ["check_databases", "check_store"]

_BUSY_S = 5.0
# Checking every page takes about a second for this much.
_CHECKED_MOST_BYTES = 200_000_000


def check_store(target: Target) -> Iterator[Finding]:
    """Look at the points: a SQLite file, or InfluxDB."""
    if target.layout is None:
        yield from _influx(target)
    elif target.services or target.layout.store.exists():
        yield _file("store", target.layout.store, "the listener holds back what devices publish", target)


def check_databases(target: Target) -> Iterator[Finding]:
    """Look at the claims and the state of the rules, where their files can be seen."""
    if target.layout is None:
        return
    for name, path, means in (
        ("claims database", target.layout.claims, "no alert and no person can claim a pin"),
        ("rules state", target.layout.rules_state, "a restart forgets which alerts fire"),
    ):
        if target.services or path.exists():
            yield _file(name, path, means, target)


def _file(name: str, path: Path, means: str, target: Target) -> Finding:
    """Open an existing SQLite file, read all of it, and begin to write."""
    try:
        # mode=rw: a file that is not there must not be made.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)) as connection:
            connection.isolation_level = None
            tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()[0]
            if path.stat().st_size <= _CHECKED_MOST_BYTES:
                said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
                if said != "ok":
                    raise sqlite3.DatabaseError(said)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE pinloop_doctor (tried)")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
            doing = "Something holds it for long: a backup, or a sqlite3 shell with an open transaction. End that."
            return warning(name, f"{path} could not be written within {_BUSY_S:g} s.", doing)
        return broken(name, f"{path} cannot be used ({error}): {means}.", _ADVICE.format(path=path))
    except (sqlite3.Error, OSError) as error:
        return broken(name, f"{path} is damaged or not ours ({error}): {means}.", _restore(path, target))
    if not tables:
        return broken(name, f"{path} is empty: {means}.", _restore(path, target))
    log = path.with_name(path.name + "-wal")  # what was written last, until it is moved into the file
    size = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    return fine(name, f"{path} can be read and written ({size:,} bytes).")


_ADVICE = "Look at the owner and the rights of {path} and its folder, and at the free space."


def _restore(path: Path, target: Target) -> str:
    return f"Stop Pinloop, then `pinloop restore` a backup, or move {path.name} away and lose it; {target.again}."


def _influx(target: Target) -> Iterator[Finding]:
    store = target.store
    setup = "`docker compose up -d --wait` (store-setup asks for new tokens), then restart listener and hub"
    try:
        health = ask(f"{store.store_url}/health").json()
        answer = ask(
            f"{store.store_url}/api/v2/write?" + urlencode({"org": store.store_org, "bucket": store.store_bucket}),
            method="POST",
            headers={"Authorization": f"Token {target.write_token}"},
            body=b"\n",  # no line: whoever may write is told so, and nothing is
        )
    except NoAnswer as error:
        yield broken(
            "store", f"{store.store_url} {error}.", f"Look at {target.log_of('influxdb')}, then {target.again}."
        )
        return
    shown = f"{store.store_url} ({health.get('name', 'InfluxDB')} {health.get('version', '')})".replace(" )", ")")
    if not target.write_token:
        yield warning("store", f"{shown} answers; the token that writes is not known here.", f"Run {setup}.")
    elif answer.status in (401, 403):
        yield broken("store", f"{shown} refuses the token that writes ({answer.status}).", f"Run {setup}.")
    elif answer.status == 404:
        wanted = f"bucket {store.store_bucket!r} of the organization {store.store_org!r}"
        yield broken(
            "store",
            f"{shown} does not have the {wanted}: {_short(answer.text)}.",
            "InfluxDB makes them at its first start only: make them there, or name those that it has.",
        )
    elif answer.status >= 500:
        yield broken("store", f"{shown} answers {answer.status}: {_short(answer.text)}.", "Look at its disk and log.")
    else:
        yield fine("store", f"{shown} takes the token that writes.")
    try:
        opened = open_store(store)
        with closing(opened):
            count = len(opened.devices())
        yield fine("store reading", f"The token that reads is taken; {count} devices have points.")
    except StoreError as error:
        yield broken("store reading", f"The hub and Grafana cannot read: {error}.", f"Run {setup}.")


def _short(text: str) -> str:
    try:
        found = json.loads(text)
        text = str(found.get("message") or found.get("error") or text)
    except (ValueError, AttributeError):
        pass
    return text.strip()[:200]
