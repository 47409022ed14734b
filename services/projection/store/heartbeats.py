"""Heartbeats of the relay, kept for an hour."""

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
        """Save those that are not there."""
        if not beats:
            return
        updates: list[Any] = [
            UpdateOne({"_id": beat["_id"]}, {"$setOnInsert": {**beat}}, upsert=True) for beat in beats
        ]
        with translated():
            await self._mongo[HEARTBEATS].bulk_write(updates, ordered=False)

    async def incarnations(self) -> Mapping[str, str]:
        """By topic, as told last; none when that was a while ago, for they may be others by now."""
        with translated():
            row = await self._mongo[HEARTBEATS].find_one({}, sort=[("t", -1)])
        if row is None or row["at"] < datetime.now(UTC) - _FRESH:
            return {}
        told: Mapping[str, str] = row["incarnations"]
        return told

    async def since(self, moment: datetime, now: datetime) -> list[Heartbeat]:
        """Those after a moment, newest first; of those over a minute old only what came in each tenth second.

        Who is far behind needs no more, and an hour of several shards would be read every second.
        """
        wanted = {"t": {"$gt": moment}, "$or": [{"t": {"$gt": now - _ALL}}, _TENTH]}
        with translated():
            rows = await self._mongo[HEARTBEATS].find(wanted).sort("t", -1).to_list(None)
        return [Heartbeat.of(row, row["t"]) for row in rows]
