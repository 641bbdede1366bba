"""What the listener counts."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("listener_messages_total", "Messages taken from the broker.")
REJECTED = Counter("listener_messages_rejected_total", "Messages that cannot be stored.", ["reason"])
READINGS = Counter(
    "listener_readings_total",
    "Samples by what became of them: new, duplicate (a redelivery) or retained (old by unknown time).",
    ["outcome"],
)
POINTS = Counter("listener_points_stored_total", "Points that the store has taken.", ["measurement"])
DEAD_LETTERS = Counter("listener_dead_letters_total", "Points that the store refused for good.")
WRITES = Counter("listener_writes_total", "Writes to the store by outcome: stored, transient, permanent.", ["outcome"])
WRITE_SECONDS = Histogram(
    "listener_write_seconds",
    "Duration of a write that the store took.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
QUEUE_BYTES = Gauge("listener_queue_bytes", "Bytes of messages that wait for the writer.")
SCRAPES = Counter(
    "listener_scrapes_total", "Figures of services by what became of them: stored, away, lost.", ["outcome"]
)
