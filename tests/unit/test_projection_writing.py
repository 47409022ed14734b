"""Batches of several partitions waiting for a transaction: all are written, light ones together."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from services.projection.folding.topic_projection import Writes
from services.projection.store.checkpoints import Checkpoint, Passed
from services.projection.store.connecting import Mongo
from services.projection.store.writing import Batch, DocumentWriter
from shared.documents import ORDERS

START = Checkpoint(incarnation="i", offset=-1, digest="", writes=0, live=True)


class Recorded(DocumentWriter):
    """Writes nothing, and records which partitions shared a transaction."""

    def __init__(self) -> None:
        super().__init__(cast("Mongo", None), "1-1")
        self.transactions: list[list[int]] = []

    async def _transact(self, batches: Sequence[Batch]) -> list[Checkpoint]:
        self.transactions.append([batch.place[1] for batch in batches])
        await asyncio.to_thread(len, batches)  # others arrive meanwhile
        return [START for _ in batches]

    async def take(self, partition: int, documents: int) -> Checkpoint:
        writes = Writes(inserted={ORDERS: cast("Any", [{}] * documents)}, replaced={}, added={}, feed=[])
        return await self.write(("orders", partition), START, Passed("i", 0, "d"), None, writes, [])


async def test_waiting_light_batches_share_a_transaction() -> None:
    writer = Recorded()
    await asyncio.gather(*(writer.take(partition, 1) for partition in range(12)))
    assert writer.transactions == [[0], list(range(1, 12))]


async def test_heavy_and_light_batches_do_not_starve_each_other() -> None:
    writer = Recorded()
    sizes = [1000, 1, 1000, 1000, 1, 1000, 1, 150, 150, 1000, 1, 1000]
    async with asyncio.timeout(5):
        await asyncio.gather(*(writer.take(partition, size) for partition, size in enumerate(sizes)))
    assert sorted(partition for each in writer.transactions for partition in each) == list(range(12))
    assert all([partition] in writer.transactions for partition, size in enumerate(sizes) if size == 1000)
