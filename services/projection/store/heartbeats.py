"""Heartbeats of the relay, kept for an hour."""

from collections.abc import Sequence
from typing import Any

from pymongo import UpdateOne

from services.projection.store.connecting import Mongo, Row, translated
from shared.documents import HEARTBEATS
from shared.freshness import Heartbeat


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

    async def newest(self, limit: int) -> list[Heartbeat]:
        """The newest ones, newest first."""
        with translated():
            rows = await self._mongo[HEARTBEATS].find().sort("t", -1).to_list(limit)
        return [Heartbeat.of(row, row["t"]) for row in rows]
