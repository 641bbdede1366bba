"""What devices' clocks say, before it becomes a sample's time: seconds since the start, and clocks that jump back.

Pure but for its memory, which belongs to one thread. `stamps` takes what is left: a plausible time or none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contract.readings import Sample
from listener.stamps import LEAST_S, MOST_AHEAD_S

__all__ = ["DEVICE", "RECEIPT", "UPTIME", "Clocks"]

# Where a time comes from.
DEVICE, UPTIME, RECEIPT = "device", "uptime", "receipt"

# The newest sample of a delivery is younger than this: a device that seems to have started later has started again.
_LATE_S = 60.0
_DRIFT = 0.0005  # crystals are off by up to 0.02 %, RC clocks by more
_JUMP_S = 5.0
_DAY_NS = 86400 * 10**9


@dataclass(slots=True)
class _Start:
    """When a device seems to have started, seconds since 1970; its last uptime, and when that came."""

    at_s: float
    uptime_s: float
    received_s: float


class Clocks:
    """Remembers, for each device, its start and its last numbered sample."""

    def __init__(self) -> None:
        self._starts: dict[str, _Start] = {}
        self._newest: dict[str, tuple[str, int, float]] = {}  # device -> (boot, n, time)
        self._marked: dict[str, tuple[str, int]] = {}  # device -> (source, when it was noted)

    def settle(self, device: str, samples: Sequence[Sample], received_ns: int) -> tuple[Sequence[Sample], str]:
        """Return the samples of a delivery with times since 1970 or none, and where the last one's time comes from.

        1. Seconds since the device's start (a time before 2020) are placed so that the newest of the delivery was
           just read; see `_place`.
        2. A numbered sample that is newer than the last one and yet earlier by its clock gets the time of receipt
           until that clock has caught up: it was put back.
        """
        received_s = received_ns / 1e9
        source = RECEIPT
        for sample in samples:
            if sample.t_s is not None and 0 <= sample.t_s < LEAST_S:
                samples = self._place(device, samples, received_s)
                source = UPTIME
                break
        settled = [sample if sample.t_s is None else self._forward(device, sample, received_s) for sample in samples]
        last_s = settled[-1].t_s if settled else None
        if source == RECEIPT and last_s is not None and LEAST_S <= last_s <= received_s + MOST_AHEAD_S:
            source = DEVICE
        return settled, source

    def mark(self, device: str, source: str, received_ns: int) -> bool:
        """Return whether it is to be noted where a device's times come from: at a change, and once a day."""
        known = self._marked.get(device)
        if known is not None and known[0] == source and received_ns - known[1] < _DAY_NS:
            return False
        self._marked[device] = (source, received_ns)
        return True

    def marked_until(self, device: str, source: str) -> int:
        """Return until when `mark` has nothing to do while a device's times come from there; 0: it has now."""
        known = self._marked.get(device)
        return known[1] + _DAY_NS if known is not None and known[0] == source else 0

    def steady(self, device: str, boot: str, n: int | None, t_s: float, received_ns: int) -> bool:
        """Return whether a time is plausible and neither put back nor old, and note it if so.

        Such a time is the sample's own; `settle` would change nothing.
        """
        if not LEAST_S <= t_s <= received_ns / 1e9 + MOST_AHEAD_S:
            return False
        if n is not None and boot:
            newest_boot, newest_n, newest_s = self._newest.get(device, ("", -1, 0.0))
            if boot != newest_boot or n > newest_n:
                if boot == newest_boot and t_s < newest_s - _JUMP_S:
                    return False
                self._newest[device] = (boot, n, t_s)
        return True

    def _forward(self, device: str, sample: Sample, received_s: float) -> Sample:
        t_s = sample.t_s
        if t_s is None or sample.n is None or not sample.boot or not LEAST_S <= t_s <= received_s + MOST_AHEAD_S:
            return sample
        boot, n, newest_s = self._newest.get(device, ("", -1, 0.0))
        if boot == sample.boot:
            if sample.n <= n:
                return sample
            if t_s < newest_s - _JUMP_S and newest_s <= received_s:
                self._newest[device] = (boot, sample.n, newest_s)
                return Sample(sample.values, None, sample.n, boot, sample.age_s)
        self._newest[device] = (sample.boot, sample.n, t_s)
        return sample

    def _place(self, device: str, samples: Sequence[Sample], received_s: float) -> list[Sample]:
        """Put seconds since the start on the calendar.

        1. Cut the delivery where the uptime falls: there the device started again.
        2. The last run's start is the receipt less its newest uptime. When that is where the start is known to be, give
           or take what a message may be late, the earlier of the two counts (lateness only ever adds), moved on a
           little for a clock that runs slow.
        3. A run before it, which ended when the next one began, has the known start if it fits before that.
        """
        runs: list[list[int]] = []
        uptimes = [sample.t_s if sample.t_s is not None and 0 <= sample.t_s < LEAST_S else None for sample in samples]
        last_s = float("inf")
        for index, uptime_s in enumerate(uptimes):
            if uptime_s is None:
                continue
            if uptime_s < last_s:
                runs.append([])
            runs[-1].append(index)
            last_s = uptime_s
        known = self._starts.get(device)
        placed = list(samples)
        end_s = received_s
        for number, run in reversed(list(enumerate(runs))):
            newest_s = uptimes[run[-1]] or 0.0
            start_s = end_s - newest_s
            if number == len(runs) - 1:
                start_s = self._start(known if number == 0 else None, uptimes[run[0]] or 0.0, start_s, received_s)
                self._starts[device] = _Start(start_s, newest_s, received_s)
            elif number == 0 and known and known.at_s + newest_s <= end_s:
                start_s = known.at_s
            for index in run:
                one = samples[index]
                placed[index] = Sample(one.values, start_s + (uptimes[index] or 0.0), one.n, one.boot)
            end_s = start_s
        return placed

    @staticmethod
    def _start(known: _Start | None, first_s: float, start_s: float, received_s: float) -> float:
        if known is None or start_s - known.at_s > _LATE_S:
            return start_s
        if first_s < known.uptime_s and start_s >= known.at_s + known.uptime_s:
            return start_s  # it started again right after its last sample
        drifted_s = known.at_s + max(0.0, received_s - known.received_s) * _DRIFT
        return min(start_s, drifted_s)
