"""Numbers that both ends of the wire keep to. Units are in the names."""

DEFAULT_PREFIX = "pinloop"

MAX_DEVICE_CHARS = 32
MAX_NAME_CHARS = 32
MAX_PREFIX_CHARS = 64

# A device buffers a whole packet in RAM: 512 bytes is three times the longest command that the webhook writes.
MAX_COMMAND_BYTES = 512
# What the services accept from a device; the shipped broker closes connections above the same limit.
MAX_PAYLOAD_BYTES = 65536
# A back-fill message: one hour at one reading a second does not fit, ten minutes do.
MAX_SAMPLES_PER_MESSAGE = 1000
MAX_SENSORS_PER_SAMPLE = 64
MAX_BY_CHARS = 120
# Older than this a reading is history: a device says its age, and rules do not act on it. Live readings take
# milliseconds; a Wi-Fi that is joined anew, or clocks that are set over it, may cost a few seconds.
FRESH_S = 5

# 2**53 - 1: the largest integer that survives a JSON reader which knows doubles only (a browser, Grafana).
MAX_INTEGER = 9007199254740991

DEFAULT_TTL_S = 300
MAX_TTL_S = 86400
