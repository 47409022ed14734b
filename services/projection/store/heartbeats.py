"""The relay's heartbeats, kept for an hour."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import UpdateOne

from services.projection.store.connecting import Mongo, Row, translated
from shared.documents import HEARTBEATS
from shared.freshness import Heartbeat

_FRESH: Final = timedelta(seconds=10)
_ALL: Final = timedelta(minutes=1)
_TENTH: Final[Row] = {"$expr": {"$eq": [{"$mod": [{"$second": "$t"}, 10]}, 0]}}


class Heartbeats:
    """Saves and reads heartbeats."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def save(self, beats: Sequence[Row]) -> None:
        """Save those that are not stored yet."""
        if not beats:
            return
        updates: list[Any] = [
            UpdateOne({"_id": beat["_id"]}, {"$setOnInsert": {**beat}}, upsert=True) for beat in beats
        ]
        with translated():
            await self._mongo[HEARTBEATS].bulk_write(updates, ordered=False)

    async def incarnations(self) -> Mapping[str, str]:
        """By topic, as last reported; empty if that was too long ago, as they may have changed since."""
        with translated():
            row = await self._mongo[HEARTBEATS].find_one({}, sort=[("t", -1)])
        if row is None or row["at"] < datetime.now(UTC) - _FRESH:
            return {}
        reported: Mapping[str, str] = row["incarnations"]
        return reported

    async def since(self, moment: datetime, now: datetime) -> list[Heartbeat]:
        """Those after a moment, newest first; of those over a minute old, only those of every tenth second.

        Partitions far behind need no more; otherwise an hour of several shards would be read every second.
        """
        wanted = {"t": {"$gt": moment}, "$or": [{"t": {"$gt": now - _ALL}}, _TENTH]}
        with translated():
            rows = await self._mongo[HEARTBEATS].find(wanted).sort("t", -1).to_list(None)
        return [Heartbeat.of(row, row["t"]) for row in rows]
