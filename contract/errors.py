"""What can be wrong with a message.

ContractError(ValueError)
  TopicError      the topic is outside the grammar
  PayloadError    the payload is not what the topic promises
"""


class ContractError(ValueError):
    """Something outside the contract.

    Attributes:
        key: what is wrong, as a path ("topic", "command.ttl").
        value: the offending value, as it came.
        rule: what it breaks, as the end of a sentence ("is not a number").
        reason: one word from a closed list, for counters ("device", "json", "number", ...).
    """

    def __init__(self, key: str, value: object, rule: str, reason: str) -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(key + ": " + shown + " " + rule)
        self.key = key
        self.value = value
        self.rule = rule
        self.reason = reason


class TopicError(ContractError):
    """A topic outside the grammar; it must never be published or stored."""


class PayloadError(ContractError):
    """A payload that its topic does not promise."""
