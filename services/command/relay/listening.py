"""Notifications from PostgreSQL. Losing one costs only latency: everything is also polled."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import psycopg

from services.command.relay.connecting import connect

_RETRY_SECONDS: Final = 1.0
_QUIET_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class Listener:
    """LISTENs on a connection of its own: on `outbox` for new events, on `gate` for a waiting republish."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._heard: dict[str, list[Callable[[], None]]] = {"outbox": [], "gate": []}

    def on(self, channel: str, heard: Callable[[], None]) -> Callable[[], None]:
        """Call `heard` on each notification; call the returned function to stop that."""
        self._heard[channel].append(heard)
        return lambda: self._heard[channel].remove(heard)

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with await connect(self._url) as connection:
                    for channel in self._heard:
                        await connection.execute(f"LISTEN {channel}".encode())
                    self._tell("outbox")
                    while True:
                        async for notice in connection.notifies(timeout=_QUIET_SECONDS):
                            self._tell(notice.channel)
                        await connection.execute("SELECT 1")
            except psycopg.Error as error:
                _log.info("not listening to PostgreSQL: %s", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    def _tell(self, channel: str) -> None:
        for heard in self._heard[channel]:
            heard()
