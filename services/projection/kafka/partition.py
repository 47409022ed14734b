"""Processes one assigned partition: from its checkpoint, batch by batch, retrying after faults."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NoReturn, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition

from services.projection.faults import FencedError, HaltedError, TransientError
from services.projection.kafka.backlog import Backlog
from services.projection.kafka.topic_identity import TopicIdentity
from services.projection.metrics import ProjectionMetrics
from services.projection.records import Record
from services.projection.store.checkpoints import Checkpoint, Place

_LARGEST_BATCH: Final = 1000
_FULL: Final = 6000
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 3.0
_HALTED_SECONDS: Final = 0.05
_log = logging.getLogger(__name__)


class Applying(Protocol):
    """What processes a partition's records."""

    async def checkpoint(self, place: Place) -> Checkpoint:
        """Load the partition's checkpoint."""

    async def reset(self, place: Place, start: Checkpoint) -> Checkpoint:
        """Move the checkpoint back to before the first record, and return it."""

    async def incarnations(self) -> Mapping[str, str]:
        """The topics' incarnations as last reported by the relay; empty while the relay is silent."""

    async def apply(self, place: Place, start: Checkpoint, records: Sequence[Record]) -> Checkpoint:
        """Apply a batch that directly follows `start`, and return the new checkpoint."""


class _OutOfStepError(Exception):
    """The records do not continue those read before: seek again."""


class Partition:
    """One partition: queues its records, and pauses, seeks and resumes it."""

    def __init__(
        self,
        place: Place,
        consumer: AIOKafkaConsumer,
        applying: Applying,
        backlog: Backlog,
        metrics: ProjectionMetrics,
    ) -> None:
        self.place = place
        self.passed = -1
        """The offset of the last record passed."""
        self._tp = TopicPartition(*place)
        self._consumer = consumer
        self._applying = applying
        self._backlog = backlog
        self._metrics = metrics
        self._queue: deque[Record] = deque()
        self._wake = asyncio.Event()
        self._accepting = False
        self._out_of_step = False
        self._expected = 0
        self._gap: tuple[int, int] | None = None
        self._full = False
        self._failures = 0
        self._fenced = False
        self._closed = False
        self._verify = False
        self._from_beginning = False
        self._reported_incarnation = ""
        self._identity = TopicIdentity()
        self._base: Checkpoint | None = None

    def close(self) -> None:
        """Stop: the partition was revoked. A batch in progress may still finish; the checkpoint fences it."""
        self._closed = True
        self._drop()
        self._wake.set()

    def offer(self, records: Sequence[Record]) -> None:
        """Queue records that were read; those from before the last seek are dropped."""
        if not self._accepting:
            return
        first = records[0].offset
        if first != self._expected:
            found = (self._expected, first)
            if found != self._gap or first < self._expected:
                self._gap, self._accepting, self._out_of_step = found, False, True
                self._wake.set()
                return
            # the same gap after reading again: these offsets hold no records
        self._expected = records[-1].offset + 1
        self._queue.extend(records)
        self._backlog.grew(len(records))
        if len(self._queue) >= _FULL:
            self._full = True
            self._consumer.pause(self._tp)
        self._wake.set()

    def records_lost(self) -> None:
        """Seek again: records that were read are lost. The missing offsets do not count as a known gap."""
        if self._accepting:
            self._gap, self._accepting, self._out_of_step = None, False, True
            self._wake.set()

    def incarnation_reported(self, incarnation: str) -> None:
        """Handle the relay's report of the incarnation: there may be no records, or none that state it."""
        if (
            self._accepting
            and self._base is not None
            and self._identity.is_new_topic(self._base, incarnation)
        ):
            self._reported_incarnation = incarnation
            self._from_beginning, self._out_of_step = True, True
            self._count_restart("the topic was re-created, or none of our records was read from it yet")
            self._drop()
            self._wake.set()

    async def run(self, after: "asyncio.Task[None] | None") -> None:
        """Run until closed, starting when `after`, the previous task for this partition, has ended."""
        if after is not None:
            await asyncio.wait([after])
        while not self._closed:
            try:
                await self._take_position()
                await self._follow()
            except _OutOfStepError:
                _log.info("%s/%d: records are out of step, seeking to the checkpoint", *self.place)
            except FencedError as error:
                _log.info("%s/%d: %s, seeking to the checkpoint", *self.place, error)
                if self._fenced:  # without progress since the last time: avoid a tight loop
                    await self._back_off(error)
                self._fenced = True
            except HaltedError:
                await asyncio.sleep(_HALTED_SECONDS)
            except IllegalStateError:
                return  # revoked just now
            except (TransientError, KafkaError) as error:
                await self._back_off(error)
            except Exception as error:
                # a bug: retry and log it, rather than let the partition stop silently
                _log.exception("%s/%d: unexpected error", *self.place)
                await self._back_off(error)
        self._drop()

    async def _back_off(self, error: Exception) -> None:
        self._stop_reading()
        self._metrics.faults.labels(self.place[0]).inc()
        if not self._failures:
            _log.warning("%s/%d is paused: %s", *self.place, error)
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._failures, 10))
        self._failures += 1
        self._wake.clear()
        try:
            async with asyncio.timeout(longest * random.uniform(0.5, 1)):
                while not self._closed:
                    await self._wake.wait()
        except TimeoutError:
            return

    def _stop_reading(self) -> None:
        if not self._closed:
            self._consumer.pause(self._tp)
        self._drop()

    def _drop(self) -> None:
        self._accepting = False
        self._backlog.shrank(len(self._queue))
        self._queue.clear()

    async def _take_position(self) -> None:
        """Seek to the checkpoint's record, so that it can be verified, or to the beginning."""
        self._stop_reading()
        base = await self._applying.checkpoint(self.place)
        if base.is_halted(datetime.now(UTC)):
            raise HaltedError(-1)
        if self._from_beginning and self._reported_incarnation:
            # stored now, as no record may follow: two generations can only be halted at the same position
            base = await self._applying.reset(self.place, base)
            # reported before the first fetch: all records to come are of this incarnation, or a later one
            base = replace(base, incarnation=self._reported_incarnation)
        self._base = base
        begin = (await self._consumer.beginning_offsets([self._tp]))[self._tp]
        end = (await self._consumer.end_offsets([self._tp]))[self._tp]
        if self._closed:
            return
        # the checkpoint's record must still exist; otherwise the topic is a different one
        self._verify = not self._from_beginning and begin <= base.offset < end
        start = base.offset if self._verify else begin
        self._from_beginning, self._reported_incarnation = False, ""
        self._out_of_step, self._full, self._wake = False, False, asyncio.Event()
        self._expected, self._accepting = start, True
        self.passed = base.offset
        self._consumer.seek(self._tp, start)
        self._consumer.resume(self._tp)

    async def _follow(self) -> None:
        while True:
            while not self._queue:
                if self._closed:
                    return
                if self._out_of_step:
                    raise _OutOfStepError
                self._wake.clear()
                await self._wake.wait()
            await self._batch()

    async def _batch(self) -> None:
        size = min(len(self._queue), _LARGEST_BATCH)
        records = [self._queue.popleft() for _ in range(size)]
        assert self._base is not None
        try:
            if self._verify:
                self._verify = False
                if not self._identity.matches(self._base, records.pop(0)):
                    self._restart("the checkpoint's offset holds a different record")
            if records:
                await self._apply(records)
        finally:
            self._backlog.shrank(size)
        if self._full and len(self._queue) < _FULL // 2 and not self._closed:
            self._full = False
            self._consumer.resume(self._tp)

    async def _apply(self, records: Sequence[Record]) -> None:
        assert self._base is not None
        if not self._identity.continues(self._base, records):
            self._restart("the topic was re-created")
        try:
            self._base = await self._applying.apply(self.place, self._base, records)
        except HaltedError as halt:
            before = [record for record in records if record.offset <= halt.last]
            if before:
                self._base = await self._applying.apply(self.place, self._base, before)
            raise
        self.passed = records[-1].offset
        self._failures, self._fenced = 0, False

    def _restart(self, why: str) -> NoReturn:
        self._count_restart(why)
        self._from_beginning = True
        raise _OutOfStepError

    def _count_restart(self, why: str) -> None:
        _log.warning("%s/%d restarts from the beginning: %s", *self.place, why)
        self._metrics.restarts.labels(self.place[0]).inc()
