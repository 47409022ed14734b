"""Divides the shards fairly among the processes."""

from math import ceil
from typing import Final


class HandedOverError(Exception):
    """The shard was released for a process that has fewer."""


class Shares:
    """The shards of this process, at most its share: an equal part for each of `members`, rounded up.

    A process that starts later thus gets its share from those with more. None takes more than its share, or
    shards would move back and forth.
    """

    def __init__(self, shards: int) -> None:
        self._shards: Final = shards
        self._held: Final[set[int]] = set()

    def _most(self, members: int) -> int:
        return ceil(self._shards / max(1, members))

    def take(self, shard: int, members: int) -> bool:
        """Count the shard as ours if there is room."""
        if len(self._held) >= self._most(members):
            return False
        self._held.add(shard)
        return True

    def drop(self, shard: int) -> None:
        """No longer count the shard as ours."""
        self._held.discard(shard)

    def is_surplus(self, shard: int, members: int) -> bool:
        """Whether another process should have the shard; true only of the last of ours."""
        return len(self._held) > self._most(members) and shard == max(self._held)
