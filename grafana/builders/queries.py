"""InfluxQL of the dashboards: what is asked of which measurement (docs/listener.md says what is in them).

$timeFilter, $__interval and the dashboard's variables are put in by Grafana.
"""

__all__ = [
    "BY_DEVICE",
    "BY_PIN",
    "DEVICES",
    "LONG_AGO",
    "REPORTED",
    "differing",
    "mean_of",
    "number_of",
    "rate",
    "select",
]

DEVICES = '"device" =~ /^$device$/'
"""The devices that are chosen in the dashboard."""

LONG_AGO = "time > now() - 30d"
"""For what is said once and holds on: the last word counts, however old."""

# The listener notes a change twice: when a pin is told, and when it reports that it did.
REPORTED = "\"event\" = 'reported'"

BY_DEVICE = 'time($__interval), "device"'
BY_PIN = 'time($__interval), "device", "pin"'


def select(
    what: str, measurement: str, *only: str, group_by: str = "", fill: str = "", when: str = "$timeFilter"
) -> str:
    """Return a query; `only` are its conditions, `fill` is for intervals without a point (null, previous, none)."""
    conditions = " AND ".join((*only, when))
    text = f'SELECT {what} FROM "{measurement}" WHERE {conditions}'  # noqa: S608  (all of it is written here)
    if group_by:
        text += f" GROUP BY {group_by}"
    return f"{text} fill({fill})" if fill else text


def number_of(measurement: str, field: str, condition: str) -> str:
    """Return the query for how many devices (or pins) there are whose last `field` keeps to `condition`."""
    each = select(f'last("{field}") AS "x"', measurement, DEVICES, group_by='"device", "pin"', when=LONG_AGO)
    return f'SELECT count("x") FROM ({each}) WHERE "x" {condition}'  # noqa: S608  (as above)


def differing() -> str:
    """Return the query for how many pins are not what they are told to be; a pin that is released is told nothing."""
    last = 'last("desired") - last("reported") AS "off", last("commanded") AS "commanded"'
    each = select(last, "pins", DEVICES, group_by='"device", "pin"', when=LONG_AGO)
    return f'SELECT count("off") FROM ({each}) WHERE "commanded" = 1 AND "off" != 0'  # noqa: S608  (as above)


def rate(metric: str, service: str, *by: str) -> str:
    """Return the query for how fast a counter of a service grows, per second; `by`: all of its labels."""
    group_by = ", ".join(["time($__interval)", *(f'"{label}"' for label in by)])
    only = f"\"service\" = '{service}'"
    return select(f'non_negative_derivative(last("{metric}"), 1s)', "services", only, group_by=group_by)


def mean_of(metric: str, service: str) -> str:
    """Return the query for the mean of a histogram in each interval that counted anything."""
    both = ", ".join(f'non_negative_difference(last("{metric}_{end}")) AS "{end}"' for end in ("sum", "count"))
    each = select(both, "services", f"\"service\" = '{service}'", group_by="time($__interval)")
    return f'SELECT "sum" / "count" AS "mean" FROM ({each}) WHERE "count" > 0'  # noqa: S608  (as above)
