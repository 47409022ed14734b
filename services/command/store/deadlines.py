"""Ends the waiting of callers whose answer does not come in time."""

import asyncio
import time
from typing import Final

from services.command.store.pending import Pending

_ANSWER_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1


class Deadlines:
    """Looks at all who wait ten times a second: a timer for each took a twentieth of an order's time."""

    def __init__(self) -> None:
        self._watched: list[tuple[float, Pending]] = []

    def watch(self, pending: Pending) -> None:
        """Have its caller told that the store is away, unless it has its answer by then."""
        self._watched.append((time.monotonic() + _ANSWER_SECONDS, pending))

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            left = []
            for deadline, pending in self._watched:
                if pending.future.done():
                    continue
                if now < deadline:
                    left.append((deadline, pending))
                else:
                    pending.expire()
            self._watched = left
