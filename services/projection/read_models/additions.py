"""What events add to counts. Additions commute, so those of a batch are summed before they are written."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Addition:
    """What is added to one count: which one, amounts to be summed, moments of which the latest stays."""

    names: dict[str, str]
    amounts: dict[str, int]
    moments: dict[str, datetime] = field(default_factory=dict)

    def add(self, other: "Addition") -> None:
        """Take in what another event adds to the same count."""
        for name, amount in other.amounts.items():
            self.amounts[name] = self.amounts.get(name, 0) + amount
        for name, moment in other.moments.items():
            mine = self.moments.get(name)
            self.moments[name] = moment if mine is None else max(mine, moment)


Additions = dict[str, Addition]
"""By the key of the count."""


def collect(additions: Additions, key: str, addition: Addition) -> None:
    """Sum `addition` into the one of the same key."""
    known = additions.get(key)
    if known is None:
        additions[key] = addition
    else:
        known.add(addition)
