"""Limits the number of records waiting in memory, over all partitions."""

import asyncio
from typing import Final

_MOST: Final = 20_000
_LONGEST_WAIT: Final = 5.0


class Backlog:
    """Makes the reader wait until there is room, but not indefinitely: the consumer must keep polling."""

    def __init__(self) -> None:
        self._size = 0
        self._room = asyncio.Event()
        self._room.set()

    def grew(self, by: int) -> None:
        """Records were queued."""
        self._size += by
        if self._size >= _MOST:
            self._room.clear()

    def shrank(self, by: int) -> None:
        """Records were processed or dropped."""
        self._size -= by
        if self._size < _MOST:
            self._room.set()

    async def room(self) -> None:
        """Wait until there is room, but no longer than 5 s."""
        if self._room.is_set():
            return
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                await self._room.wait()
        except TimeoutError:
            return
