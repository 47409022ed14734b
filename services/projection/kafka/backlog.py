"""How many records wait in memory, over all partitions."""

import asyncio
from typing import Final

_MOST: Final = 20_000
_LONGEST_WAIT: Final = 5.0


class Backlog:
    """Whoever reads waits here until there is room. Not for ever: the consumer must go on polling."""

    def __init__(self) -> None:
        self._size = 0
        self._room = asyncio.Event()
        self._room.set()

    def grew(self, by: int) -> None:
        """More records wait."""
        self._size += by
        if self._size >= _MOST:
            self._room.clear()

    def shrank(self, by: int) -> None:
        """Fewer do."""
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
