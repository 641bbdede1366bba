"""Episodes: what a notification means after those that came before it.

Senders repeat, reorder and lose notifications, and several replicas send the
same one. Per alert (fingerprint) only the newest episode (startsAt) counts,
and within an episode the strongest word: resolved beats unknown beats firing.
So the state of an alert depends on the set of its notifications, never on
their order.

Replicas that evaluate by themselves may see an alert begin in different rounds.
While the newest word is "firing", that of an earlier episode re-asserts it: the
replica that saw it begin later may have said so once, and never again.
"""

from webhook.dialects import FIRING, IGNORED, RESOLVED, UNKNOWN, Notification

__all__ = ["CLAIMED", "DUPLICATE", "RENEWED", "STALE", "WITHDRAWN", "judge"]

CLAIMED = "claimed"
RENEWED = "renewed"
WITHDRAWN = "withdrawn"
DUPLICATE = "duplicate"
STALE = "stale"

_STRENGTH = {FIRING: 0, UNKNOWN: 1, RESOLVED: 2}


def judge(previous: tuple[float, str] | None, notification: Notification) -> str:
    """Return what `notification` does: its outcome.

    CLAIMED and RENEWED (re-)assert the alert's claims, RENEWED those of the episode that stands; WITHDRAWN ends them,
    UNKNOWN replaces them by a wish for the safe value; DUPLICATE, STALE and IGNORED change nothing.

    Args:
        previous: (starts_at, status) that stands for this fingerprint, None when it is new.
    """
    if notification.status == IGNORED:
        return IGNORED
    new = (notification.starts_at, _STRENGTH[notification.status])
    old = (previous[0], _STRENGTH[previous[1]]) if previous else None
    if old is not None and new < old:
        return RENEWED if new[1] == old[1] == _STRENGTH[FIRING] else STALE
    if notification.status == FIRING:
        return RENEWED if new == old else CLAIMED
    if new == old:
        return DUPLICATE
    return WITHDRAWN if notification.status == RESOLVED else UNKNOWN
