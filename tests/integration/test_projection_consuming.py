"""Reading in a consumer group, from the first record to the last commit."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import CorruptRecordException, KafkaConnectionError
from aiokafka.structs import TopicPartition
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from deploy.local.state import free_ports
from services.projection.faults import FencedError
from services.projection.kafka import consuming
from services.projection.kafka.broker import new_broker
from services.projection.kafka.consuming import Consuming
from services.projection.kafka.partition import Applying
from services.projection.metrics import ProjectionMetrics
from services.projection.records import Record, Undecodable, digest
from services.projection.settings import ProjectionSettings
from services.projection.store.checkpoints import Checkpoint, Place
from tests.projecting import send_undecodable
from tests.relaying import remake_topics
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration
ORDERS_0 = ("orders", 0)


class Kept:
    """Keeps the records it is given, and checkpoints, in memory."""

    def __init__(self) -> None:
        self.values: dict[Place, list[bytes | None]] = {}
        self.records: list[Record] = []
        self._checkpoints: dict[Place, Checkpoint] = {}

    async def checkpoint(self, place: Place) -> Checkpoint:
        """The partition's checkpoint."""
        return self._checkpoints.get(place, Checkpoint("", -1, "", 0, live=True))

    async def reset(self, place: Place, start: Checkpoint) -> Checkpoint:
        """Never called here."""
        raise NotImplementedError

    async def incarnations(self) -> Mapping[str, str]:
        """The relay is silent."""
        return {}

    async def apply(self, place: Place, start: Checkpoint, records: Sequence[Record]) -> Checkpoint:
        """Keep them."""
        self.records += records
        self.values.setdefault(place, []).extend(record.value for record in records)
        moved = replace(start, offset=records[-1].offset, digest=digest(records[-1]), writes=start.writes + 1)
        self._checkpoints[place] = moved
        return moved

    async def kept(self, place: Place, values: Sequence[bytes | None]) -> None:
        """Wait until exactly these values were read."""

        async def all_there() -> bool:
            return self.values.get(place) == [*values]

        await eventually(all_there, f"{place} has {values}")


class Fenced(Kept):
    """Another process has always written the batch before."""

    attempts = 0

    async def apply(self, place: Place, start: Checkpoint, records: Sequence[Record]) -> Checkpoint:
        """Always fail."""
        self.attempts += 1
        raise FencedError


class Group:
    """A consumer group for one test."""

    def __init__(self, kafka: str) -> None:
        self.kafka = kafka
        self.name = f"test-{uuid4().hex[:12]}"
        self.kept = Kept()
        self.metrics = ProjectionMetrics(CollectorRegistry())

    @property
    def broker(self) -> KafkaBroker:
        """A new connection."""
        settings = ProjectionSettings.model_validate(
            {
                "mongodb_url": "mongodb://nowhere",
                "kafka_bootstrap_servers": self.kafka,
                "personal_data_keys_url": "http://nowhere",
                "personal_data_token": "none",
            }
        )
        return new_broker(settings)

    def consuming(self, broker: KafkaBroker, applying: Applying | None = None) -> Consuming:
        """A member."""
        return Consuming(broker, self.name, applying or self.kept, self.metrics)

    async def send(self, *values: bytes, partition: int = 0) -> None:
        """Send records of orders."""
        async with AIOKafkaProducer(bootstrap_servers=self.kafka) as producer:
            for value in values:
                await producer.send_and_wait("orders", value, partition=partition)

    async def committed(self) -> int | None:
        """The offset of `ORDERS_0` that the group has committed."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka, group_id=self.name)
        async with consumer:
            found: int | None = await consumer.committed(TopicPartition(*ORDERS_0))
        return found


@pytest_asyncio.fixture
async def group(kafka: Server) -> AsyncIterator[Group]:
    await remake_topics(kafka.url)
    yield Group(kafka.url)
    assert not [task for task in asyncio.all_tasks() if "/" in task.get_name()], "no partition still runs"


async def test_the_last_offset_passed_is_committed_on_exit(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "_COMMIT_SECONDS", 3600)
    async with group.consuming(group.broker):
        await group.send(b"1", b"2")
        await group.kept.kept(ORDERS_0, [b"1", b"2"])
    assert await group.committed() == 2


async def test_a_rebalance_while_stopping_starts_no_partition(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = group.broker
    member, stop = group.consuming(broker), broker.stop

    async def assigned_once_more() -> None:
        member.on_partitions_assigned({TopicPartition(*ORDERS_0)})
        await stop()

    monkeypatch.setattr(broker, "stop", assigned_once_more)
    async with member:
        await group.send(b"1")
        await group.kept.kept(ORDERS_0, [b"1"])
    assert member.assigned_places == frozenset()


async def test_a_partition_that_is_fenced_repeatedly_backs_off(group: Group) -> None:
    fenced, faults = Fenced(), group.metrics.faults.labels("orders")._value
    async with group.consuming(group.broker, fenced):
        await group.send(b"1")

        async def often() -> bool:
            return fenced.attempts >= 4

        await eventually(often, "the batch is retried")
        assert faults.get() >= fenced.attempts - 2, "it backs off, except the first time"


def letters(kept: Kept) -> list[Undecodable]:
    return [record for record in kept.records if isinstance(record, Undecodable)]


async def test_an_undecodable_record_is_skipped_and_no_other_is(group: Group) -> None:
    async with group.consuming(group.broker):
        await group.send(b"1", b"2")
        await send_undecodable(group.kafka, *ORDERS_0, b"3", b"4")
        await group.send(b"5", b"6")
        await group.send(b"7", partition=1)
        await group.kept.kept(ORDERS_0, [b"1", b"2", b"3", b"4", None, b"5", b"6"])
        await group.kept.kept(("orders", 1), [b"7"])
    assert [record.offset for record in letters(group.kept)] == [4]


async def test_a_partition_continues_from_a_checkpoint_at_an_undecodable_record(group: Group) -> None:
    async with group.consuming(group.broker):
        await send_undecodable(group.kafka, *ORDERS_0, b"1")
        await group.kept.kept(ORDERS_0, [b"1", None])
    async with group.consuming(group.broker):
        await group.send(b"2")
        await group.kept.kept(ORDERS_0, [b"1", None, b"2"])


async def test_a_partition_that_cannot_be_read_does_not_block_the_others(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One partition's records are corrupt, which makes a poll raise and lose those of the others."""
    getmany, broken = AIOKafkaConsumer.getmany, TopicPartition("orders", 1)

    async def damaged(consumer: AIOKafkaConsumer, *places: TopicPartition, **options: Any) -> Any:
        if broken in places:
            raise CorruptRecordException
        found = await getmany(consumer, *places, **options)
        if broken in found:
            raise CorruptRecordException
        return found

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", damaged)
    async with group.consuming(group.broker):
        await group.send(b"1", partition=1)
        await group.send(b"2", b"3")
        await group.kept.kept(ORDERS_0, [b"2", b"3"])
        monkeypatch.undo()
        await group.kept.kept(("orders", 1), [b"1"])


async def test_stopping_does_not_wait_for_a_commit_that_is_never_answered(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never_answered(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(consuming, "_COMMIT_SECONDS", 3600)
    monkeypatch.setattr(AIOKafkaConsumer, "commit", never_answered)
    async with asyncio.timeout(30):
        async with group.consuming(group.broker):
            await group.send(b"1")
            await group.kept.kept(ORDERS_0, [b"1"])
    assert asked.is_set()


async def test_a_consumer_that_cannot_start_is_closed() -> None:
    nowhere = Group(f"127.0.0.1:{free_ports(1)[0]}")
    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(KafkaConnectionError):
            async with nowhere.consuming(nowhere.broker):
                pytest.fail("there is no broker")
        gc.collect()
    assert [str(each.message) for each in left_open if "AIOKafkaConsumer" in str(each.message)] == []
