"""Inputs: what other firmware publishes, to the same facts that our own devices state.

One folder each: `decode.py` (pure), README, sample, vectors. The listener stores
what they say and rules evaluate it, so both read one file (`inputs.toml`) the same way.
"""

from inputs.declared import Inputs, load
from inputs.facts import About, Fact, Ignored, Readings, Refused, Status
from inputs.settings import InputsSettings

__all__ = ["About", "Fact", "Ignored", "Inputs", "InputsSettings", "Readings", "Refused", "Status", "load"]
