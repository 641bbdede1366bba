"""The inputs of other firmware as the listener's decoder takes them; values that are no readings are counted here."""

from collections.abc import Callable, Sequence

from prometheus_client import Counter

from inputs import Ignored, Inputs
from inputs.base import Input as Foreign
from listener.decode import Fact, Input

__all__ = ["foreign"]

_IGNORED = Counter(
    "listener_values_ignored_total", "Values of other firmware that are no readings, by input.", ["input", "reason"]
)


def foreign(inputs: Inputs) -> list[Input]:
    """Return one `Input` for each topic filter, in their order."""
    return [
        Input(text, _counting(one), subscribed=text in one.filters)
        for one in inputs.inputs
        for text in (*one.filters, *one.own)
    ]


def _counting(one: Foreign) -> Callable[[str, bytes], Sequence[Fact]]:
    def decode(topic: str, payload: bytes) -> Sequence[Fact]:
        facts: list[Fact] = []
        for fact in one.decode(topic, payload):
            if isinstance(fact, Ignored):
                _IGNORED.labels(one.name, fact.reason).inc()
            else:
                facts.append(fact)
        return facts

    return decode
