"""Additions to counts. They commute, so those of a batch are summed before they are written."""

from collections.abc import Sequence
from datetime import datetime

Amounts = Sequence[int]
"""One amount for each field of a read model's counts, in the order of its `AMOUNTS`."""


class Additions:
    """The sums of one batch, by the key of the count, and the latest moment where one is kept."""

    def __init__(self) -> None:
        self.sums: dict[str, list[int]] = {}
        self.latest: dict[str, datetime] = {}

    def add(self, key: str, amounts: Amounts) -> None:
        """Add to the count of that key."""
        known = self.sums.get(key)
        if known is None:
            self.sums[key] = list(amounts)
        else:
            for place, amount in enumerate(amounts):
                known[place] += amount

    def happened(self, key: str, moment: datetime) -> None:
        """Keep the moment, unless a later one is known."""
        known = self.latest.get(key)
        if known is None or known < moment:
            self.latest[key] = moment
