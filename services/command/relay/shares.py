"""A fair share of the shards for each process."""

from math import ceil
from typing import Final


class HandedOverError(Exception):
    """The shard was let go of, for a process that has fewer."""


class Shares:
    """The shards of this process: at most as many as come to each of `members` processes.

    So those that start later get their share from those that have more, and never more than that, lest it
    goes back and forth.
    """

    def __init__(self, shards: int) -> None:
        self._shards: Final = shards
        self._held: Final[set[int]] = set()

    def _most(self, members: int) -> int:
        return ceil(self._shards / max(1, members))

    def take(self, shard: int, members: int) -> bool:
        """Count it as ours, if there is room."""
        if len(self._held) >= self._most(members):
            return False
        self._held.add(shard)
        return True

    def drop(self, shard: int) -> None:
        """It is not ours any more."""
        self._held.discard(shard)

    def is_surplus(self, shard: int, members: int) -> bool:
        """Whether others should have it; of several shards only the last."""
        return len(self._held) > self._most(members) and shard == max(self._held)
