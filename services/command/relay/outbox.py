"""One shard's part of the outbox in PostgreSQL."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from services.command.relay.connecting import Connection
from services.command.relay.records import EventRow, RefusedError
from services.command.relay.sql import sql

COUNTED: Final = 100_000
"""Maximum rows to count: the publisher waits meanwhile, and after a long Kafka outage there may be tens of
millions."""


class Outbox:
    """Reads on `reading`; writes on `session`, which holds the shard's lock, so never after losing it."""

    def __init__(self, reading: Connection, session: Connection, shards: int, shard: int) -> None:
        self._reading = reading
        self._session = session
        self._shard = {"shards": shards, "shard": shard}
        self.set_aside: dict[str, int] = {}
        """The positions from which streams must not be published. Only holders of a shard's lock or of the
        gate add to them."""

    async def oldest(self, known: Iterable[int], count: int) -> list[EventRow]:
        """Up to `count` of the oldest events that are not `known`.

        Not those after some position: a transaction that commits late may have a lower one.
        """
        wanted = {**self._shard, "known": _array(known), "limit": count}
        cursor = await self._reading.execute(sql("load_oldest"), wanted)
        return list(map(EventRow._make, await cursor.fetchall()))

    async def span(self) -> tuple[datetime, int | None, int | None]:
        """The database's time, then the lowest and the highest waiting position."""
        row = await (await self._reading.execute(sql("outbox_span"), self._shard)).fetchone()
        assert row is not None, "an aggregate returns a row"
        return row[0], row[1], row[2]

    async def depth(self) -> tuple[int, float]:
        """How many of the `COUNTED` oldest are the shard's, and how many seconds its oldest has waited."""
        asked = {**self._shard, "counted": COUNTED}
        row = await (await self._reading.execute(sql("outbox_depth"), asked)).fetchone()
        assert row is not None, "an aggregate returns a row"
        return row[0], max(0.0, row[1])

    async def delete(self, positions: Sequence[int]) -> None:
        """Delete published events."""
        await self._session.execute(sql("delete_published"), {"positions": _array(positions)})

    async def load_set_aside(self) -> None:
        """Load which streams are set aside."""
        cursor = await self._session.execute(sql("list_set_aside"))
        self.set_aside = dict(await cursor.fetchall())


def _array(positions: Iterable[int]) -> str:
    """A bigint[] as text; adapting a list would take the driver ten times as long."""
    return "{" + ",".join(map(str, positions)) + "}"


async def put_aside(session: Connection, refused: RefusedError) -> None:
    """Set a stream aside from an event on, in the session that holds its shard's lock or the gate."""
    await session.execute(
        sql("set_aside"),
        {"stream_id": refused.stream_id, "position": refused.position, "error": refused.reason},
    )
