"""Proof of freshness: what was committed by the database's time t is in the topics below the end offsets."""

import asyncio
from typing import Final

import orjson
from aiokafka import AIOKafkaProducer

from services.command.relay.cluster import Cluster
from services.command.relay.incarnations import Incarnations
from services.command.relay.metrics import RelayMetrics
from services.command.relay.outbox import Outbox
from shared.times import rfc3339
from shared.topics import HEARTBEATS

_EVERY_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.05


class Heartbeats:
    """Sends a shard's heartbeats, twice a second or as often as the outbox gets through."""

    def __init__(
        self,
        outbox: Outbox,
        cluster: Cluster,
        incarnations: Incarnations,
        made: AIOKafkaProducer,
        publishing: asyncio.Event,
        metrics: RelayMetrics,
        *,
        shards: int,
        shard: int,
    ) -> None:
        self._outbox = outbox
        self._cluster = cluster
        self._incarnations = incarnations
        self._producer = made
        self._publishing = publishing
        self._metrics = metrics
        self._shard = {"shards": shards, "shard": shard}

    async def run(self) -> None:
        """Send for ever; raises what went wrong."""
        while True:
            await self._publishing.wait()
            await asyncio.gather(self._beat(), asyncio.sleep(_EVERY_SECONDS))

    async def _beat(self) -> None:
        moment, oldest, newest = await self._outbox.span()
        # all that waited then is through once nothing waits below it: later rows only make us wait longer
        while oldest is not None and newest is not None and oldest <= newest:
            await asyncio.sleep(_LOOK_SECONDS)
            _, oldest, _ = await self._outbox.span()
        ends = await self._cluster.end_offsets(self._incarnations.partitions)
        # not in the middle of a republish, which may be filling an emptied topic
        await self._publishing.wait()
        # last: these are the topics whose offsets were read
        await self._incarnations.check_beginnings()
        await self._incarnations.check()
        if not self._incarnations.complete:
            return  # events are missing from them, and nobody knows who had read those
        beat = {
            **self._shard,
            "t": rfc3339(moment),
            "endOffsets": {topic: self._told(topic, found) for topic, found in ends.items()},
            "incarnations": self._incarnations.ids,
        }
        await self._producer.send_and_wait(HEARTBEATS, orjson.dumps(beat))
        self._metrics.heartbeats.labels(str(self._shard["shard"])).inc()

    def _told(self, topic: str, ends: list[int]) -> list[int]:
        """Where the partitions end; 0 for one that holds nothing, wherever it begins."""
        begins = self._incarnations[topic].start_offsets
        return [0 if end == begin else end for end, begin in zip(ends, begins, strict=True)]
