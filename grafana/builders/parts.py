"""What several dashboards show alike."""

from grafana.builders.panels import Json, annotation, query, tag_variable
from grafana.builders.queries import BY_PIN, DEVICES, REPORTED, select

__all__ = ["asked_by", "sensor", "switched_by", "told_and_reported"]

_TOLD = "\"event\" = 'desired'"
_WHO = '"source", "device", "pin", "slot"'


def sensor() -> Json:
    """Return the variable over the sensors of the chosen devices."""
    return tag_variable("sensor", "sensors", "sensor", only=DEVICES)


def told_and_reported() -> list[Json]:
    """Return the queries for what each pin is told and what it reports.

    What a pin is told holds while it is renewed; what it reported holds until it reports something else.
    """
    desired = select('last("desired") AS "desired"', "pins", DEVICES, group_by=BY_PIN, fill="null")
    reported = select('last("reported") AS "reported"', "pins", DEVICES, group_by=BY_PIN, fill="previous")
    return [
        query(desired, "$tag_device/$tag_pin desired"),
        query(reported, "$tag_device/$tag_pin reported", ref="B"),
    ]


def switched_by() -> Json:
    """Return marks where a pin switched, with who asked for it."""
    return annotation(
        "Switched by", select(_WHO, "actuations", DEVICES, REPORTED), "source", "device,pin,slot", "orange"
    )


def asked_by() -> Json:
    """Return marks where an alert, of Grafana's rules or of the stream's, asked for a pin of the device."""
    alerts = "(\"slot\" = 'alert' OR \"slot\" = 'safety')"
    return annotation("Alerts", select(_WHO, "actuations", DEVICES, _TOLD, alerts), "source", "device,pin,slot", "red")
