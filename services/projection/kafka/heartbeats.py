"""Stores the relay's heartbeats in MongoDB. Every instance does so; the result is the same."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, TopicPartition

from services.projection.faults import TransientError
from services.projection.kafka.consuming import as_read, untouched
from services.projection.store.connecting import Row
from services.projection.store.heartbeats import Heartbeats
from shared.times import parse_rfc3339
from shared.topics import CATEGORIES, HEARTBEATS

_log = logging.getLogger(__name__)


def follow_heartbeats(broker: KafkaBroker, heartbeats: Heartbeats) -> None:
    """Subscribe without a group: rebalances of the events' group do not affect it."""

    async def take(records: Any) -> None:
        beats = [beat for record in records if (beat := heartbeat(record.value)) is not None]
        try:
            await heartbeats.save(beats)
        except TransientError as error:
            # later ones supersede these
            _log.debug("heartbeats lost: %s", error)

    subscriber = broker.subscriber(
        partitions=[TopicPartition(HEARTBEATS, 0)],
        batch=True,
        max_records=500,
        batch_timeout_ms=50,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        parser=untouched,
        decoder=as_read,
    )
    subscriber(take)


def heartbeat(value: bytes | None) -> Row | None:
    """The document of a heartbeat; None if it is not valid."""
    try:
        parsed: dict[str, Any] = orjson.loads(value or b"")
        shards, shard, t = int(parsed["shards"]), int(parsed["shard"]), parse_rfc3339(parsed["t"])
        ends = {topic: [int(end) for end in parsed["endOffsets"][topic]] for topic in CATEGORIES}
        incarnations = {topic: str(parsed["incarnations"][topic]) for topic in CATEGORIES}
    except (ValueError, KeyError, TypeError):
        return None
    return {
        "_id": f"{shards}|{shard}|{round(t.timestamp() * 1000)}",
        "shards": shards,
        "shard": shard,
        "t": t,
        "endOffsets": ends,
        "incarnations": incarnations,
        "at": datetime.now(UTC),
    }
