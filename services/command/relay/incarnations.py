"""Incarnations of topics: ids that change when a topic is re-created or emptied."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import psycopg

from services.command.relay.cluster import Cluster, Described, TopicMissingError
from services.command.relay.sql import sql
from shared.topics import CATEGORIES

_LOCK: Final = 0x696E_6361_726E
_log = logging.getLogger(__name__)


class TopicRemadeError(Exception):
    """A topic was re-created or emptied while we wrote to it."""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """A topic as last seen. `complete` means that it holds its history from the beginning."""

    id: str
    topic_id: str
    start_offsets: tuple[int, ...]
    complete: bool

    def is_of(self, topic: Described, start_offsets: Sequence[int]) -> bool:
        """Whether this is still the same topic. Only emptying a topic moves its start offsets."""
        return topic.topic_id == self.topic_id and tuple(start_offsets) == self.start_offsets


class Incarnations:
    """The incarnations of the event topics, as one writer knows them."""

    def __init__(self, cluster: Cluster, known: Mapping[str, Incarnation]) -> None:
        self._cluster = cluster
        self._known = known
        self.ids = {topic: incarnation.id for topic, incarnation in known.items()}
        self.partitions = {topic: len(seen.start_offsets) for topic, seen in known.items()}
        self.complete = all(seen.complete for seen in known.values())

    def __getitem__(self, topic: str) -> Incarnation:
        return self._known[topic]

    async def check(self) -> None:
        """Raise `TopicRemadeError` if a topic was re-created.

        Otherwise all records acknowledged before this call went to the known topics. Emptying is not noticed.
        """
        found = await self._cluster.describe(self._known)
        for topic, known in self._known.items():
            if topic not in found or found[topic].topic_id != known.topic_id:
                raise TopicRemadeError(f"topic {topic} was re-created")

    async def check_beginnings(self) -> None:
        """Raise `TopicRemadeError` if a topic was emptied."""
        for topic, offsets in (await self._cluster.first_offsets(self.partitions)).items():
            if tuple(offsets) != self._known[topic].start_offsets:
                raise TopicRemadeError(f"topic {topic} was emptied")


async def observe(
    connection: psycopg.AsyncConnection[Any], cluster: Cluster, topics: Sequence[str] = CATEGORIES
) -> Incarnations:
    """Look up the topics as they are now, and give new ones a new incarnation.

    Raises `TopicMissingError`.
    """
    found = await cluster.describe(topics)
    missing = [topic for topic in topics if topic not in found]
    if missing:
        raise TopicMissingError(f"topics are missing: {', '.join(missing)}")
    starts = await cluster.first_offsets({topic: found[topic].partitions for topic in topics})
    known = await _load(connection, topics)
    if not _all_known(known, found, starts):
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            known = await _load(connection, topics)
            for topic in topics:
                if topic not in known or not known[topic].is_of(found[topic], starts[topic]):
                    await _save(connection, topic, found[topic], starts[topic])
            known = await _load(connection, topics)
    return Incarnations(cluster, known)


def _all_known(
    known: Mapping[str, Incarnation], found: Mapping[str, Described], starts: Mapping[str, Sequence[int]]
) -> bool:
    return all(topic in known and known[topic].is_of(found[topic], starts[topic]) for topic in found)


async def _load(connection: psycopg.AsyncConnection[Any], topics: Sequence[str]) -> dict[str, Incarnation]:
    cursor = await connection.execute(sql("list_incarnations"), {"topics": list(topics)})
    return {
        topic: Incarnation(incarnation, topic_id, tuple(starts), complete)
        for topic, incarnation, topic_id, starts, complete in await cursor.fetchall()
    }


async def _save(
    connection: psycopg.AsyncConnection[Any], topic: str, found: Described, starts: Sequence[int]
) -> None:
    incarnation = uuid4().hex
    await connection.execute(
        sql("save_incarnation"),
        {
            "topic": topic,
            "incarnation": incarnation,
            "topic_id": found.topic_id,
            "start_offsets": list(starts),
        },
    )
    _log.info("topic %s is new: incarnation %s", topic, incarnation)
