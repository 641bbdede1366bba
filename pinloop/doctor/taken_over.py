"""Files that people write and that count from the next start: does what runs know what they say now?

Devices of other firmware need rights at the broker, which `pinloop up` writes when it starts. Until then what is sent
to them is dropped without a word. (In the stack the files cannot be seen from where the doctor is.)
"""

from collections.abc import Iterator

from contract.topics import Topics
from inputs import load
from pinloop.broker_files import acl_text
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from service.document import DocumentError
from service.errors import SettingsError
from webhook.routes_file import load_routes

__all__ = ["check_files"]


def check_files(target: Target) -> Iterator[Finding]:
    """Compare inputs.toml and the devices of routes.yml with what `pinloop up` found when it started."""
    layout = target.layout
    if layout is None or not target.services or not layout.inputs.exists():
        return  # a file that is gone is made at the next start
    try:
        inputs = load(layout.inputs)
        devices = load_routes(layout.routes, Topics()).devices.values()
        rights = (layout.broker / "acl").read_text(encoding="utf-8")
        changed_s, started_s = layout.inputs.stat().st_mtime, layout.running.stat().st_mtime
    except SettingsError as error:
        advice = "Mend it (`pinloop inputs check`): what runs goes on as before, and the next start refuses it."
        yield broken("inputs file", f"{layout.inputs_mistake(error)}.", advice)
        return
    except (DocumentError, OSError):
        return  # a mistake in the routes is a finding of the webhook's
    if changed_s > started_s or acl_text(inputs=inputs, devices=devices) != rights:
        yield warning(
            "devices' files",
            f"{layout.inputs} or the devices in {layout.routes} were changed since the start: that does not count yet.",
            f"To take it over, {target.again}.",
        )
    else:
        yield fine("devices' files", f"{layout.inputs} and the devices in {layout.routes} are as at the start.")
