"""The lag that `/lag` and the metrics tell, of documents that stay behind."""

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
    """Two a second of each shard, the last one now: each tells of one event more than the one before."""
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
async def test_documents_far_behind_that_come_on_are_seen_to(
    mongodb: Server, shards: int, behind: int, then: int
) -> None:
    now = datetime.now(UTC)
    # no broker is there: how far the documents are behind is told by what stands in their own store
    async with (
        Mongo(mongodb.url, f"lag-{uuid4().hex[:12]}") as mongo,
        Topics({"bootstrap_servers": "127.0.0.1:1"}) as topics,
    ):
        await mongo[GENERATIONS].insert_one({"_id": LIVE, **pointing_at("1-1", REVISION, None)})
        await mongo[CHECKPOINTS].insert_one({**new_checkpoint("1-1", PLACE, live=True), "incarnation": "a"})
        await mongo[HEARTBEATS].insert_many(beats(now, shards))
        lag = Lag(mongo, topics, ProjectionMetrics(CollectorRegistry()))

        async def stand(seconds: int) -> None:
            """Have the documents hold what was there that long before `now`, and wait until it is told."""
            offset = HALF_SECONDS - 2 * seconds - 1
            await mongo[CHECKPOINTS].update_one({}, {"$set": {"offset": offset}})

            async def told() -> bool:
                ms = [row["ms"] for row in lag.partitions()]
                passed = (datetime.now(UTC) - now).total_seconds()
                return bool(ms) and 0 <= ms[0] / 1000 - passed - seconds <= 11

            await eventually(told, f"the documents are told to be {seconds} s behind", 5)

        looking = asyncio.create_task(lag.run())
        try:
            await stand(behind)
            await stand(then)
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            await mongo.client.drop_database(mongo.database.name)
