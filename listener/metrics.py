"""What the listener counts."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("listener_messages_total", "Messages taken from the broker.")
REJECTED = Counter("listener_messages_rejected_total", "Messages that cannot be stored.", ["reason"])
READINGS = Counter(
    "listener_readings_total",
    "Samples by what became of them: new, duplicate (a redelivery) or retained (old by unknown time).",
    ["outcome"],
)
POINTS = Counter("listener_points_stored_total", "Points that the main store has taken.", ["measurement"])
DEAD_LETTERS = Counter("listener_dead_letters_total", "Points and messages kept as dead letters.")
LETTERS_KEPT = Gauge("listener_dead_letters_kept", "Dead letters in the file now; replayed and dropped ones are gone.")
WRITES = Counter(
    "listener_writes_total", "Writes to the main store by outcome: stored, transient, permanent.", ["outcome"]
)
WRITE_SECONDS = Histogram(
    "listener_write_seconds",
    "Duration of a write that the main store took.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
QUEUE_BYTES = Gauge("listener_queue_bytes", "Bytes of messages that wait for the writer.")
SCRAPES = Counter(
    "listener_scrapes_total", "Figures of services by what became of them: stored, away, lost.", ["outcome"]
)
STORE_UP = Gauge("listener_store_up", "1 when the last write to a store was taken, 0 when it failed.", ["store"])
SECOND_POINTS = Counter("listener_second_points_total", "Points that a second store has taken.", ["store"])
SPOOL_BYTES = Gauge("listener_spool_bytes", "Bytes of the spool's files.")
SPOOL_BEHIND = Gauge("listener_spool_behind_bytes", "Bytes in the spool that a store has yet to take.", ["store"])
SPOOLED = Counter("listener_spooled_points_total", "Points written to the spool.")
SPOOL_DROPPED = Counter(
    "listener_spool_dropped_points_total",
    "Points that a store never gets: too old (age), no room (bytes; disk: the disk is full), damaged or torn on the"
    " disk, never written because the spool could not be (unwritable).",
    ["store", "reason"],
)
HELD = Gauge("listener_acknowledgements_held", "1 while neither store nor spool takes anything.")
LETTERS_LOST = Counter(
    "listener_dead_letters_dropped_total", "Dead letters not kept: rate, room (the oldest), disk.", ["reason"]
)
