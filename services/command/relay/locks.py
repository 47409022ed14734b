"""Who may publish: one session per shard, and none while a republish holds the gate.

Each publisher holds its shard's lock exclusively and shares the gate with the others. A republish takes the
gate exclusively: it waits in PostgreSQL's queue until the publishers, which see it waiting, have released the
gate; then they queue after it.
"""

import asyncio
from typing import Final

from services.command.relay.connecting import Connection
from services.command.relay.sql import sql

_SHARDS: Final = 0x7265_6C61
_MEMBERS: Final = 0x6D65_6D62
_GATE: Final = 0x6761_7465
_PING_SECONDS: Final = 1.0
_CALL_SECONDS: Final = 0.005


class PublisherLock:
    """The right to publish one shard, held by a session that the server ends if this process falls silent."""

    def __init__(self, connection: Connection, shards: int, shard: int) -> None:
        self._connection = connection
        self._shards = shards
        self._key = shards << 16 | shard
        self.wanted = asyncio.Event()
        """Set when a republish is waiting for the gate."""

    async def join(self) -> None:
        """Be counted among the processes that publish or stand by for the shard, until the session ends."""
        await self._connection.execute(
            "SELECT pg_advisory_lock_shared(%s::int, %s::int)", [_MEMBERS, self._key]
        )

    async def members(self) -> int:
        """How many processes have joined, including this one."""
        cursor = await self._connection.execute(sql("count_members"), {"lock": _MEMBERS, "key": self._key})
        row = await cursor.fetchone()
        assert row is not None, "a count returns a row"
        return int(row[0])

    async def try_acquire(self) -> bool:
        """Take the shard if it is free and all publishers use the same number of shards; await the gate."""
        cursor = await self._connection.execute(
            "SELECT pg_try_advisory_lock(%s::int, %s::int)", [_SHARDS, self._key]
        )
        row = await cursor.fetchone()
        if row != (True,):
            return False
        if await self._others():
            await self._connection.execute(
                "SELECT pg_advisory_unlock(%s::int, %s::int)", [_SHARDS, self._key]
            )
            return False
        await self._connection.execute("SELECT pg_advisory_lock_shared(%s)", [_GATE])
        return True

    async def _others(self) -> bool:
        """Whether any publisher uses a different number of shards."""
        cursor = await self._connection.execute(
            sql("other_shards"), {"lock": _SHARDS, "shards": self._shards}
        )
        return await cursor.fetchone() == (True,)

    async def give_way(self) -> None:
        """Yield the gate to those waiting for it, keeping the shard."""
        self.wanted.clear()
        await self._connection.execute("SELECT pg_advisory_unlock_shared(%s)", [_GATE])
        await self._connection.execute("SELECT pg_advisory_lock_shared(%s)", [_GATE])

    async def keep(self) -> None:
        """Ping the server and look for a waiting republish each second; raises when the session is lost."""
        while True:
            await self.look()
            await asyncio.sleep(_PING_SECONDS)

    async def look(self) -> None:
        """Check whether a republish is waiting for the gate."""
        cursor = await self._connection.execute(sql("gate_is_wanted"), {"lock": _GATE})
        if await cursor.fetchone() == (True,):
            self.wanted.set()


async def stay_alive(session: Connection) -> None:
    """Ping the server each second; raises when the session is lost."""
    while True:
        await session.execute("SELECT 1")
        await asyncio.sleep(_PING_SECONDS)


class Gate:
    """The right to publish in place of all publishers, whatever the number of shards."""

    def __init__(self, connection: Connection, calling: Connection) -> None:
        self._connection = connection
        self._calling = calling

    async def __aenter__(self) -> None:
        # a publisher notified before we are queued takes the gate right back: notify until we have it
        calls = asyncio.create_task(self._call())
        try:
            await self._connection.execute("SELECT pg_advisory_lock(%s)", [_GATE])
        finally:
            calls.cancel()
            await asyncio.wait([calls])

    async def _call(self) -> None:
        while True:
            await asyncio.sleep(_CALL_SECONDS)
            await self._calling.execute("NOTIFY gate")

    async def __aexit__(self, *_: object) -> None:
        await self._connection.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
