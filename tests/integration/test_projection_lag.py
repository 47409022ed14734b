"""The reported lag of documents that are behind."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from services.projection.kafka.watching import Topics
from services.projection.lag import Lag
from services.projection.metrics import ProjectionMetrics
from services.projection.store.checkpoints import new_checkpoint
from services.projection.store.connecting import Mongo
from services.projection.store.generations import REVISION, pointing_at
from shared.documents import CHECKPOINTS, GENERATIONS, HEARTBEATS, LIVE
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration
PLACE: Final = ("orders", 0)
HALF_SECONDS: Final = 400


def beats(now: datetime, shards: int) -> list[dict[str, Any]]:
    """Two per second and shard, the last one now; each reports one event more than the previous one."""
    return [
        {
            "_id": f"{shards}|{shard}|{number}",
            "shards": shards,
            "shard": shard,
            "t": now - timedelta(seconds=(HALF_SECONDS - number) / 2),
            "endOffsets": {"orders": [number]},
            "incarnations": {"orders": "a"},
            "at": now,
        }
        for number in range(1, HALF_SECONDS + 1)
        for shard in range(shards)
    ]


@pytest.mark.parametrize(("shards", "behind", "then"), [(1, 120, 95), (16, 30, 10)])
async def test_the_lag_shrinks_when_documents_far_behind_catch_up(
    mongodb: Server, shards: int, behind: int, then: int
) -> None:
    now = datetime.now(UTC)
    # there is no broker: the lag is computed from the store alone
    async with (
        Mongo(mongodb.url, f"lag-{uuid4().hex[:12]}") as mongo,
        Topics({"bootstrap_servers": "127.0.0.1:1"}) as topics,
    ):
        await mongo[GENERATIONS].insert_one({"_id": LIVE, **pointing_at("1-1", REVISION, None)})
        await mongo[CHECKPOINTS].insert_one({**new_checkpoint("1-1", PLACE, live=True), "incarnation": "a"})
        await mongo[HEARTBEATS].insert_many(beats(now, shards))
        lag = Lag(mongo, topics, ProjectionMetrics(CollectorRegistry()))

        async def set_lag(seconds: int) -> None:
            """Move the documents to their state that long before `now`, and wait until this is reported."""
            offset = HALF_SECONDS - 2 * seconds - 1
            await mongo[CHECKPOINTS].update_one({}, {"$set": {"offset": offset}})

            async def reported() -> bool:
                ms = [row["ms"] for row in lag.partitions()]
                passed = (datetime.now(UTC) - now).total_seconds()
                return bool(ms) and 0 <= ms[0] / 1000 - passed - seconds <= 11

            await eventually(reported, f"the documents are reported to be {seconds} s behind", 5)

        looking = asyncio.create_task(lag.run())
        try:
            await set_lag(behind)
            await set_lag(then)
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            await mongo.client.drop_database(mongo.database.name)
