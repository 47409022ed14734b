"""The publisher's loops: reading, sending and deleting, concurrently, on different parts of the outbox."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.command.relay.incarnations import Incarnations
from services.command.relay.locks import PublisherLock
from services.command.relay.metrics import RelayMetrics
from services.command.relay.outbox import Outbox
from services.command.relay.records import Encoder, EventRow, Record, without_set_aside
from services.command.relay.sending import Sender
from shared.times import parse_rfc3339

CHUNK: Final = 1000
_AHEAD: Final = 1
_LOOK_SECONDS: Final = 0.25
_TURN_SECONDS: Final = 0.5
_FEW: Final = 100
_TOGETHER_SECONDS: Final = 0.1
"""How long a few events wait to be deleted together with others, unless a drain or a republish is waiting:
checking the topics and committing cost as much as sending."""


@dataclass(slots=True)
class Chunk:
    """Some of the oldest events: the records to send, and all positions to delete afterwards."""

    positions: list[int]
    records: list[Record]


class Publisher:
    """Moves events from the outbox to Kafka, oldest first, until something fails."""

    def __init__(
        self,
        outbox: Outbox,
        lock: PublisherLock,
        incarnations: Incarnations,
        encoder: Encoder,
        sender: Sender,
        metrics: RelayMetrics,
        regained: Callable[[], Awaitable[None]],
    ) -> None:
        self._outbox = outbox
        self._lock = lock
        self._incarnations = incarnations
        self._encode = encoder
        self._sender = sender
        self._metrics = metrics
        self._regained = regained
        self._in_flight: set[int] = set()
        self._read: asyncio.Queue[Chunk] = asyncio.Queue(_AHEAD)
        self._sent: asyncio.Queue[Chunk] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._gone = asyncio.Condition()
        self._hurry = asyncio.Event()
        self._stopping = False
        self.publishing = asyncio.Event()
        """Cleared while a republish publishes in our place."""
        self.publishing.set()

    def wake(self) -> None:
        """Check the outbox now."""
        self._wake.set()

    def give_way(self) -> None:
        """Yield to a republish that is waiting."""
        self._lock.wanted.set()
        self._hurry.set()
        self._wake.set()

    async def run(self) -> None:
        """Publish until something fails, and raise it; the publisher must then be discarded."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reading())
            tasks.create_task(self._sending())
            tasks.create_task(self._deleting())

    async def drain(self) -> None:
        """Stop reading, and wait for what is in flight."""
        self._stopping = True
        self._hurry.set()
        self.wake()
        async with self._gone:
            await self._gone.wait_for(lambda: not self._in_flight)

    async def _reading(self) -> None:
        turn_ends = time.monotonic()
        while not self._stopping:
            self._wake.clear()
            rows = await self._outbox.oldest(self._in_flight, CHUNK)
            if self._lock.wanted.is_set() and (not rows or time.monotonic() > turn_ends):
                await self._give_way()
                turn_ends = time.monotonic() + _TURN_SECONDS
                continue
            if rows:
                await self._read.put(self._chunk(rows))
            if len(rows) < CHUNK:  # that was all, unless we were woken meanwhile
                await self._idle()

    async def _idle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._wake.wait()

    def _chunk(self, rows: Sequence[EventRow]) -> Chunk:
        positions = [row.position for row in rows]
        self._in_flight.update(positions)
        sendable = without_set_aside(rows, self._outbox.set_aside)
        return Chunk(positions, [self._encode(row) for row in sendable])

    async def _give_way(self) -> None:
        self._hurry.set()
        async with self._gone:
            await self._gone.wait_for(lambda: not self._in_flight)
        self._hurry.clear()
        self.publishing.clear()
        await self._lock.give_way()
        await self._regained()
        self.publishing.set()

    async def _sending(self) -> None:
        while True:
            chunk = await self._read.get()
            started = time.perf_counter()
            await self._sender.send(chunk.records)
            self._metrics.send_seconds.observe(time.perf_counter() - started)
            for record in chunk.records:
                if record.span is not None:
                    record.span.end()
            self._sent.put_nowait(chunk)

    async def _deleting(self) -> None:
        while True:
            chunks = [await self._sent.get()]
            if len(chunks[0].positions) < _FEW:
                await self._pause()
            while not self._sent.empty():
                chunks.append(self._sent.get_nowait())
            # what was acknowledged may have gone to a topic that was deleted meanwhile
            await self._incarnations.check()
            positions = [position for chunk in chunks for position in chunk.positions]
            await self._outbox.delete(positions)
            for chunk in chunks:
                self._count(chunk.records)
            async with self._gone:
                self._in_flight.difference_update(positions)
                self._gone.notify_all()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOGETHER_SECONDS):
                await self._hurry.wait()

    def _count(self, records: list[Record]) -> None:
        self._metrics.batch_size.observe(len(records))
        if records:
            waited = time.time() - parse_rfc3339(records[0].committed_at).timestamp()
            self._metrics.latency_seconds.observe(max(0.0, waited))
        for topic, count in Counter(record.topic for record in records).items():
            self._metrics.published.labels(topic).inc(count)
