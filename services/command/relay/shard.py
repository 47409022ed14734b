"""The lifecycle of one shard's publisher in this process: standing by, publishing, restarting."""

import asyncio
import contextlib
import logging
from typing import Final

import psycopg
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from services.command.relay.cluster import Cluster, ClusterUnavailableError, TopicMissingError
from services.command.relay.connecting import Connection, connect
from services.command.relay.heartbeats import Heartbeats
from services.command.relay.incarnations import Incarnations, TopicRemadeError, observe
from services.command.relay.listening import Listener
from services.command.relay.locks import PublisherLock
from services.command.relay.metrics import RelayMetrics
from services.command.relay.outbox import Outbox, put_aside
from services.command.relay.publishing import Publisher
from services.command.relay.records import Encoder, RefusedError
from services.command.relay.sending import BatchRefusedError, Place, Sender, producer
from services.command.relay.shares import HandedOverError, Shares
from services.command.settings import RelaySettings
from shared.topics import CATEGORIES, HEARTBEATS

_STANDBY_SECONDS: Final = 0.25
_SHARE_SECONDS: Final = 1.0
_DEPTH_SECONDS: Final = 2.0
_DRAIN_SECONDS: Final = 5.0
_BACKOFF_SECONDS: Final = (0.05, 0.2, 0.5, 1.0)
_HANDED_OVER_SECONDS: Final = 1.0
"""Long enough for the other relay, which tries every `_STANDBY_SECONDS`."""
_log = logging.getLogger(__name__)

FAULTS: Final = (
    psycopg.Error,
    KafkaError,
    KafkaException,
    ClusterUnavailableError,
    TopicMissingError,
    TopicRemadeError,
    BatchRefusedError,
    OSError,
)
"""Errors handled by discarding the publisher and starting again from the oldest row."""


class Shard:
    """One shard, for which this process publishes or stands by."""

    def __init__(
        self,
        settings: RelaySettings,
        shard: int,
        shares: Shares,
        cluster: Cluster,
        listener: Listener,
        metrics: RelayMetrics,
    ) -> None:
        self._settings = settings
        self._number = shard
        self._shares = shares
        self._url = settings.postgres_url.get_secret_value()
        self._cluster = cluster
        self._listener = listener
        self._metrics = metrics
        self._limits: dict[Place, int] = {}
        self._publisher: Publisher | None = None
        self._failed = 0
        self.fault: str | None = "starting"
        """Why nothing can be published; None while publishing or standing by."""

    async def run(self) -> None:
        """Publish or stand by until cancelled, restarting after failures."""
        while True:
            pause = _HANDED_OVER_SECONDS
            try:
                await self._session()
            except* HandedOverError:
                _log.info("handed shard %d over to another relay", self._number)
            except* FAULTS as group:
                self._note(group)
                pause = _BACKOFF_SECONDS[min(self._failed, len(_BACKOFF_SECONDS)) - 1]
            await asyncio.sleep(pause)

    async def drain(self) -> None:
        """Finish what is in flight, for a few seconds at most."""
        if self._publisher is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._publisher.drain()

    def _note(self, group: BaseExceptionGroup[BaseException]) -> None:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self._failed += 1
        name = type(error).__name__
        ours = isinstance(
            error, TopicMissingError | TopicRemadeError | ClusterUnavailableError | BatchRefusedError
        )
        fault = (
            str(error) if ours else f"{'PostgreSQL' if isinstance(error, psycopg.Error) else 'Kafka'}: {name}"
        )
        if fault != self.fault:
            _log.warning("restarting shard %d: %s", self._number, fault)
            _log.debug("cause of the restart", exc_info=error)
        self.fault = fault
        self._metrics.failures.labels(name).inc()

    async def _session(self) -> None:
        async with await connect(self._url, mortal=True) as session:
            lock = PublisherLock(session, self._settings.relay_shards, self._number)
            await lock.join()
            try:
                while not await self._acquire(lock):
                    self._standing_by()
                    await asyncio.sleep(_STANDBY_SECONDS)
                self.fault = self.fault or "starting"
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(lock.keep())
                    tasks.create_task(self._keep_publishing(session, lock))
                    tasks.create_task(self._hand_over(lock))
            finally:
                self._shares.drop(self._number)

    async def _acquire(self, lock: PublisherLock) -> bool:
        if not self._shares.take(self._number, await lock.members()):
            return False
        if await lock.try_acquire():
            return True
        self._shares.drop(self._number)
        return False

    async def _hand_over(self, lock: PublisherLock) -> None:
        """Release the shard once another process should have it, after finishing what is in flight."""
        while True:
            if self._shares.is_surplus(self._number, await lock.members()):
                await self.drain()
                raise HandedOverError
            await asyncio.sleep(_SHARE_SECONDS)

    def _standing_by(self) -> None:
        if self.fault is not None:
            _log.info("standing by for shard %d", self._number)
        self.fault, self._failed = None, 0

    async def _keep_publishing(self, session: Connection, lock: PublisherLock) -> None:
        while True:
            try:
                await self._publish(session, lock)
            except* RefusedError as group:
                await self._set_aside(session, group)

    async def _publish(self, session: Connection, lock: PublisherLock) -> None:
        number, shards = self._number, self._settings.relay_shards
        async with await connect(self._url) as reading:
            incarnations = await self._topics(reading)
            outbox = Outbox(reading, session, shards, number)
            await self._load_set_aside(outbox)
            async with producer(self._settings) as made:
                encoder = Encoder(
                    self._settings.schema_base, incarnations.partitions, incarnations.ids, traced=True
                )
                sender = Sender(made, self._limits)

                async def regained() -> None:
                    await self._load_set_aside(outbox)
                    found = await self._topics(reading)
                    if (found.ids, found.complete) != (incarnations.ids, incarnations.complete):
                        raise TopicRemadeError("topics were emptied and refilled")

                publisher = Publisher(outbox, lock, incarnations, encoder, sender, self._metrics, regained)
                beats = Heartbeats(
                    outbox, self._cluster, incarnations, made, publisher.publishing, self._metrics,
                    shards=shards, shard=number,
                )  # fmt: skip
                await self._work(publisher, beats, outbox)

    async def _load_set_aside(self, outbox: Outbox) -> None:
        await outbox.load_set_aside()
        self._metrics.streams_set_aside.set(len(outbox.set_aside))

    async def _topics(self, connection: Connection) -> Incarnations:
        if HEARTBEATS not in await self._cluster.describe([HEARTBEATS]):
            raise TopicMissingError(f"topics are missing: {HEARTBEATS}")
        incarnations = await observe(connection, self._cluster)
        for topic in CATEGORIES:
            complete = incarnations[topic].complete
            self._metrics.history_missing.labels(topic).set(not complete)
            if not complete:
                _log.error("topic %s is missing history: run `republish --topic %s`", topic, topic)
        return incarnations

    async def _work(self, publisher: Publisher, beats: Heartbeats, outbox: Outbox) -> None:
        active = self._metrics.active.labels(str(self._number))
        with contextlib.ExitStack() as leaving:
            leaving.callback(self._listener.on("outbox", publisher.wake))
            leaving.callback(self._listener.on("gate", publisher.give_way))
            leaving.callback(active.set, 0)
            leaving.callback(setattr, self, "_publisher", None)
            self._publisher = publisher
            self.fault = None
            active.set(1)
            _log.info("publishing shard %d of %d", self._number, self._settings.relay_shards)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(publisher.run())
                tasks.create_task(beats.run())
                tasks.create_task(self._measure(outbox))

    async def _measure(self, outbox: Outbox) -> None:
        depth, age = (gauge.labels(str(self._number)) for gauge in (self._metrics.depth, self._metrics.age))
        while True:
            waiting, seconds = await outbox.depth()
            depth.set(waiting)
            age.set(seconds)
            await asyncio.sleep(_DEPTH_SECONDS)
            self._failed = 0  # it has run for a while: the next failure is a new one

    async def _set_aside(self, session: Connection, group: BaseExceptionGroup[RefusedError]) -> None:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, RefusedError):
            await put_aside(session, error)
            self._metrics.set_aside.labels(error.stream_id.partition("/")[0]).inc()
            _log.error("set aside with all later events of its stream: %s", error)
