"""The to-do list in PostgreSQL, of one shard."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from services.command.relay.connecting import Connection
from services.command.relay.records import RefusedError
from services.command.relay.sql import sql

COUNTED: Final = 100_000
"""Most rows that are counted: the publisher waits meanwhile, and after a long silence of Kafka's there may be
tens of millions."""


class Outbox:
    """Reads on `reading`; changes on `session`, which holds the shard's lock: who lost it changes nothing."""

    def __init__(self, reading: Connection, session: Connection, shards: int, shard: int) -> None:
        self._reading = reading
        self._session = session
        self._shard = {"shards": shards, "shard": shard}
        self.set_aside: dict[str, int] = {}
        """Streams that are not to be published from a position on. Only who holds the lock adds to them."""

    async def oldest(self, known: Iterable[int], count: int) -> list[tuple[Any, ...]]:
        """Up to `count` of the oldest events that are not `known`, as `load_oldest.sql` gives them.

        Never from a position on: a transaction that commits late has a low one.
        """
        wanted = {**self._shard, "known": _array(known), "limit": count}
        cursor = await self._reading.execute(sql("load_oldest"), wanted)
        return await cursor.fetchall()

    async def span(self) -> tuple[datetime, int | None, int | None]:
        """The database's time, then the lowest and the highest position that wait."""
        row = await (await self._reading.execute(sql("outbox_span"), self._shard)).fetchone()
        assert row is not None, "an aggregate has a row"
        return row[0], row[1], row[2]

    async def depth(self) -> tuple[int, float]:
        """How many of the `COUNTED` oldest are the shard's, and how many seconds its oldest has waited."""
        asked = {**self._shard, "counted": COUNTED}
        row = await (await self._reading.execute(sql("outbox_depth"), asked)).fetchone()
        assert row is not None, "an aggregate has a row"
        return row[0], max(0.0, row[1])

    async def delete(self, positions: Sequence[int]) -> None:
        """They are published."""
        await self._session.execute(sql("delete_published"), {"positions": _array(positions)})

    async def load_set_aside(self) -> None:
        """See which streams are set aside."""
        cursor = await self._session.execute(sql("list_set_aside"))
        self.set_aside = dict(await cursor.fetchall())


def _array(positions: Iterable[int]) -> str:
    """A bigint[] as text; the driver would take ten times as long."""
    return "{" + ",".join(map(str, positions)) + "}"


async def put_aside(session: Connection, refused: RefusedError) -> None:
    """Set a stream aside from an event on, in the session that holds its shard's lock or the gate."""
    await session.execute(
        sql("set_aside"),
        {"stream_id": refused.stream_id, "position": refused.position, "error": refused.reason},
    )
