"""Polls the partitions; an error of one does not affect the others."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError
from aiokafka.structs import TopicPartition

from services.projection.kafka.scanning import next_record
from services.projection.metrics import ProjectionMetrics
from services.projection.records import Record

_MOST_RECORDS: Final = 2000
_POLL_MS: Final = 200
_CAREFUL_SECONDS: Final = 10.0
_CAREFUL_RECORDS: Final = 50
_IDLE_SECONDS: Final = 0.02
_log = logging.getLogger(__name__)


class Polling:
    """Replaces FastStream's own polling, which sleeps after each poll without records.

    When a poll raises, all records it had read from other partitions are lost: `lost` is called. For some
    time afterwards, each partition is polled separately, one record at a time, so that none are lost.
    """

    def __init__(self, lost: Callable[[], None], metrics: ProjectionMetrics) -> None:
        self._lost = lost
        self._metrics = metrics
        self._careful_until = 0.0

    async def __call__(self, consumer: Any) -> tuple[Record, ...]:
        """The next records, of any partition."""
        if time.monotonic() < self._careful_until:
            return await self._carefully(consumer)
        try:
            found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
        except ConsumerStoppedError:
            raise
        except Exception as error:  # whatever the cause: find the partition that causes it
            _log.warning("polling each partition separately: %s", type(error).__name__)
            self._careful_until = time.monotonic() + _CAREFUL_SECONDS
            self._lost()
            return ()
        return tuple(chain(*found.values()))

    async def _carefully(self, consumer: Any) -> tuple[Record, ...]:
        found: list[Record] = []
        for tp in consumer.assignment():
            found += await self._some(consumer, tp)
        # waiting in a poll would delay the other partitions
        await asyncio.sleep(0 if found else _IDLE_SECONDS)
        return tuple(found)

    async def _some(self, consumer: Any, tp: TopicPartition) -> Sequence[Record]:
        found: list[Record] = []
        try:
            while len(found) < _CAREFUL_RECORDS and (record := await next_record(consumer, tp)) is not None:
                found.append(record)
        except ConsumerStoppedError:
            raise
        except Exception as error:  # whatever the cause, only this partition is delayed
            _log.debug("%s/%d: %s", *tp, type(error).__name__)
            self._metrics.faults.labels(tp.topic).inc()
            self._careful_until = time.monotonic() + _CAREFUL_SECONDS
        return found
