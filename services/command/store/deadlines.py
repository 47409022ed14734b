"""Ends the waiting of callers whose answer does not come in time."""

import asyncio
import time
from typing import Final

from services.command.store.pending import Pending

_ANSWER_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1


class Deadlines:
    """Looks at who has waited longest, ten times a second: a timer for each took a twentieth of an order."""

    def __init__(self) -> None:
        self._watched: dict[Pending, float] = {}  # in the order of their deadlines

    def watch(self, pending: Pending) -> None:
        """Have its caller told that the store is away, unless it has its answer by then."""
        self._watched[pending] = time.monotonic() + _ANSWER_SECONDS

    def forget(self, pending: Pending) -> None:
        """Its caller has its answer, or went away."""
        self._watched.pop(pending, None)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            for pending, deadline in list(self._watched.items()):
                if now < deadline:
                    break
                pending.expire()
                self.forget(pending)
