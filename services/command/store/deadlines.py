"""Fails commands that are not answered in time."""

import asyncio
import time
from typing import Final

from services.command.store.pending import PendingCommand

_ANSWER_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1


class Deadlines:
    """Checks deadlines ten times a second: a timer per command cost a twentieth of an order's time."""

    def __init__(self) -> None:
        self._watched: dict[PendingCommand, float] = {}  # in the order of their deadlines

    def watch(self, pending: PendingCommand) -> None:
        """Fail `pending` as unavailable, unless it is answered by its deadline."""
        self._watched[pending] = time.monotonic() + _ANSWER_SECONDS

    def forget(self, pending: PendingCommand) -> None:
        """Stop watching `pending`: its caller has the answer, or is gone."""
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
