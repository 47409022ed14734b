"""Notifies the relay of new outbox rows: after the commit, on a connection of its own."""

import asyncio
import logging
from typing import Final

import psycopg

from services.command.store.connecting import backoff, connect

_SHORTEST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.005
_log = logging.getLogger(__name__)


class Announcer:
    """`NOTIFY outbox`, at most once per millisecond, backing off to once per 5 ms under steady commits.

    Each costs the API as much CPU time as an order. A lost one only costs latency: the relay also polls.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._due = asyncio.Event()

    def announce(self) -> None:
        """Announce that something was committed."""
        self._due.set()

    async def run(self) -> None:
        """Announce until cancelled."""
        tries, pause = 0, _SHORTEST_PAUSE
        while True:
            try:
                async with await connect(self._url) as connection:
                    tries = 0
                    while True:
                        await self._due.wait()
                        self._due.clear()
                        await connection.execute("NOTIFY outbox")
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE) if self._due.is_set() else _SHORTEST_PAUSE
            except psycopg.Error as error:
                _log.debug("cannot notify the relay: %s", type(error).__name__)
                await asyncio.sleep(backoff(tries))
                tries += 1
