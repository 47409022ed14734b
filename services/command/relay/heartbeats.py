"""Proof of freshness: all events committed by the database's time t are below the end offsets."""

import asyncio
from typing import Final

import orjson
from aiokafka import AIOKafkaProducer

from services.command.relay.cluster import Cluster
from services.command.relay.incarnations import Incarnations
from services.command.relay.metrics import RelayMetrics
from services.command.relay.outbox import Outbox
from services.command.relay.sending import SEND_SECONDS
from shared.times import rfc3339
from shared.topics import HEARTBEATS

_EVERY_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.05


class Heartbeats:
    """Sends a shard's heartbeats: two a second, or fewer while the outbox takes longer to publish."""

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
        """Send until something fails, and raise it."""
        while True:
            await self._publishing.wait()
            await asyncio.gather(self._beat(), asyncio.sleep(_EVERY_SECONDS))

    async def _beat(self) -> None:
        moment, oldest, newest = await self._outbox.span()
        # all that waited then is published once no row is left up to `newest`; later rows only delay this
        while oldest is not None and newest is not None and oldest <= newest:
            await asyncio.sleep(_LOOK_SECONDS)
            _, oldest, _ = await self._outbox.span()
        ends = await self._cluster.end_offsets(self._incarnations.partitions)
        # not in the middle of a republish, which may be filling an emptied topic
        await self._publishing.wait()
        # last: the offsets were read from these topics
        await self._incarnations.check_beginnings()
        await self._incarnations.check()
        if not self._incarnations.complete:
            return  # events are missing, and it is unknown which readers have seen them
        beat = {
            **self._shard,
            "t": rfc3339(moment),
            "endOffsets": {topic: self._reported(topic, found) for topic, found in ends.items()},
            "incarnations": self._incarnations.ids,
        }
        async with asyncio.timeout(SEND_SECONDS):
            await self._producer.send_and_wait(HEARTBEATS, orjson.dumps(beat))
        self._metrics.heartbeats.labels(str(self._shard["shard"])).inc()

    def _reported(self, topic: str, ends: list[int]) -> list[int]:
        """The end offsets to report; 0 for an empty partition, wherever it starts."""
        begins = self._incarnations[topic].start_offsets
        return [0 if end == begin else end for end, begin in zip(ends, begins, strict=True)]
