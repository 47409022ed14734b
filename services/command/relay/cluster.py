"""What the relay asks of the brokers besides sending: topics, their ids, their offsets."""

import asyncio
import logging
from collections.abc import Collection, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from services.command.relay.kafka import confluent_options
from services.command.settings import KafkaSettings

T = TypeVar("T")
REQUEST_SECONDS: Final = 5.0
_NEVER_SECONDS: Final = REQUEST_SECONDS + 1
"""The library has answered by then, if only with a timeout: a shard must not wait forever."""
_MISSING: Final = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
_AWAY: Final = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError.REQUEST_TIMED_OUT,
}
_LEADERLESS: Final = {
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}
"""A partition is new, or its broker has just started or stopped: it will have a leader in a moment."""
_REFUSALS: Final = ("SASL", "SSL handshake failed")


class _News(logging.Filter):
    """Passes librdkafka's critical messages, and why a broker rejects us, once per kind of reason.

    The rest we report ourselves.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        kind = next((kind for kind in _REFUSALS if kind in text), None)
        if kind is None or kind in self._said:
            return record.levelno >= logging.CRITICAL
        self._said.add(kind)
        return True


_librdkafka = logging.getLogger("librdkafka")
_librdkafka.addFilter(_News())


class ClusterUnavailableError(Exception):
    """No broker answers, or none leads a partition."""


class TopicMissingError(Exception):
    """A topic that the relay writes to does not exist."""


@dataclass(frozen=True, slots=True)
class Described:
    """A topic as it is now: its Kafka id, which changes when the topic is re-created, and its size."""

    topic_id: str
    partitions: int
    replicas: int
    """Of the partition with the fewest."""


class Cluster:
    """An administrator's view of the brokers. Connects in the background on first use."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._options = {**confluent_options(settings), "socket.connection.setup.timeout.ms": 3000}
        self.admin = AdminClient(self._options, logger=_librdkafka)

    @contextmanager
    def _renewing(self) -> Generator[None, None, None]:
        """Replace the client on failure: it may ask a dead broker forever; a new one finds the others."""
        try:
            yield
        except ClusterUnavailableError:
            self.admin.poll(0)  # delivers what librdkafka logged: the reason
            old = [self.admin]
            self.admin = AdminClient(self._options, logger=_librdkafka)
            asyncio.get_running_loop().run_in_executor(None, old.clear)  # destroying it may take a while
            raise

    async def describe(self, names: Iterable[str]) -> dict[str, Described]:
        """Describe those of the topics that exist."""
        asked = self.admin.describe_topics(TopicCollection(list(names)), request_timeout=REQUEST_SECONDS)
        found = {}
        with self._renewing():
            for name, answer in asked.items():
                with suppress(TopicMissingError):
                    topic = await answered(answer)
                    replicas = min(len(partition.replicas) for partition in topic.partitions)
                    found[name] = Described(str(topic.topic_id), len(topic.partitions), replicas)
        return found

    async def first_offsets(self, partitions: Mapping[str, int]) -> dict[str, list[int]]:
        """The offset at which each partition starts."""
        return await self._offsets(partitions, OffsetSpec.earliest())

    async def end_offsets(self, partitions: Mapping[str, int]) -> dict[str, list[int]]:
        """The offset that each partition's next record will have."""
        return await self._offsets(partitions, OffsetSpec.latest())

    async def _offsets(self, partitions: Mapping[str, int], which: OffsetSpec) -> dict[str, list[int]]:
        asked = {
            TopicPartition(topic, number): which
            for topic, count in partitions.items()
            for number in range(count)
        }
        offsets = {topic: [0] * count for topic, count in partitions.items()}
        answers = self.admin.list_offsets(asked, request_timeout=REQUEST_SECONDS)
        with self._renewing(), _translated():
            await _all_done(answers.values())
            for place, answer in answers.items():
                offset = answer.result().offset
                if offset < 0:  # seen while a broker died; as an offset it would make the topic look new
                    raise ClusterUnavailableError(f"{place.topic}/{place.partition} has no leader")
                offsets[place.topic][place.partition] = offset
        return offsets

    async def empty(self, topic: str, ends: list[int]) -> None:
        """Delete all records of a topic below `ends`."""
        asked = self.admin.delete_records(
            [TopicPartition(topic, number, end) for number, end in enumerate(ends)],
            request_timeout=REQUEST_SECONDS,
        )
        for answer in asked.values():
            await answered(answer)


async def _all_done(answers: "Collection[Future[T]]") -> None:
    """Wait for all answers with a single wake-up: one for each costs far more than the answers."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    left = count(len(answers) - 1, -1)

    def one_more(_: "Future[T]") -> None:
        # runs in a thread of the library; next() is atomic
        if next(left) == 0 and not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    for answer in answers:
        answer.add_done_callback(one_more)
    if answers:
        async with asyncio.timeout(_NEVER_SECONDS):
            await done.wait()


async def answered(answer: "Future[T]") -> T:
    """Await the brokers' answer; raises `TopicMissingError`, `ClusterUnavailableError`, `KafkaException`."""
    with _translated():
        async with asyncio.timeout(_NEVER_SECONDS):
            return await asyncio.wrap_future(answer)


@contextmanager
def _translated() -> Generator[None, None, None]:
    try:
        yield
    except TimeoutError:
        raise ClusterUnavailableError("no broker answers") from None
    except KafkaException as error:
        reason: Any = error.args[0]
        if reason.code() in _MISSING:
            raise TopicMissingError(reason.str()) from None
        if reason.code() in _AWAY:
            raise ClusterUnavailableError("no broker answers") from None
        if reason.code() in _LEADERLESS:
            raise ClusterUnavailableError("a partition has no leader") from None
        raise
