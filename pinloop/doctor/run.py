"""The examination: every check in the order in which a newcomer would ask, none able to stop the others."""

from collections.abc import Callable, Iterator, Sequence

from pinloop.doctor.broker import check_broker
from pinloop.doctor.broker_disk import check_broker_disk
from pinloop.doctor.devices import check_devices, check_epochs
from pinloop.doctor.findings import Finding, broken
from pinloop.doctor.grafana import check_grafana
from pinloop.doctor.machine import check_disk, check_instance, check_programs, check_secrets
from pinloop.doctor.names import check_names
from pinloop.doctor.rules_file import check_rules
from pinloop.doctor.services import Rivals, check_services
from pinloop.doctor.store import check_databases, check_store
from pinloop.doctor.taken_over import check_files
from pinloop.doctor.target import Target
from pinloop.doctor.webhook import check_webhook

__all__ = ["examine"]

Check = Callable[[Target], Iterator[Finding]]

# What needs no instance, before and after what does.
_FIRST: Sequence[Check] = (check_instance, check_secrets)
_LIVE: Sequence[Check] = (check_broker, check_broker_disk, check_services)
_FILES: Sequence[Check] = (check_store, check_databases, check_rules, check_files)
_LAST: Sequence[Check] = (check_webhook, check_grafana, check_devices, check_names, check_epochs)
_MACHINE: Sequence[Check] = (check_disk, check_programs)


def examine(target: Target) -> Iterator[Finding]:
    """Run every check that the target allows, and yield what each sees."""
    yield from _guarded(_FIRST, target)
    if target.services:
        rivals = Rivals(target)
        yield from _guarded(_LIVE, target)
        yield from _guarded((*_FILES, *_LAST), target)
        yield from _guarded([lambda _: rivals.check()], target)
    else:
        yield from _guarded(_FILES, target)
    yield from _guarded(_MACHINE, target)


def _guarded(checks: Sequence[Check], target: Target) -> Iterator[Finding]:
    for check in checks:
        try:
            yield from check(target)
        except Exception as error:  # noqa: BLE001  (what it looks at is broken in a way nobody thought of)
            name = getattr(check, "__name__", "check").removeprefix("check_").replace("_", " ")
            yield broken(
                name, f"The check itself failed ({type(error).__name__}: {error}).", "Please report this line as a bug."
            )
