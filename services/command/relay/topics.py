"""The job that creates the topics, repairs their configuration and access, and records incarnations."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from services.command.relay.access import grant, set_passwords
from services.command.relay.cluster import (
    REQUEST_SECONDS,
    Cluster,
    ClusterUnavailableError,
    TopicMissingError,
    answered,
)
from services.command.relay.connecting import connect
from services.command.relay.incarnations import observe
from services.command.settings import TopicsSettings
from shared.settings import read_settings
from shared.telemetry import configure_logging
from shared.topics import HEARTBEATS, Topic, all_topics

_SEGMENT_MS: Final = 600_000
_AS_THE_BROKERS_ARE_SET_UP: Final = -1
_VISIBLE_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


class PartitionsChangedError(Exception):
    """A topic has a different number of partitions than configured: changing it would move keys."""


class ReplicasChangedError(Exception):
    """A topic has a different number of replicas than configured; placing them is the operator's job."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Replicas of each partition, and how many must have a record; None means the brokers' default."""

    replicas: int | None = None
    min_insync: int | None = None


_UNSAID: Final = Copies()


def wanted(topic: Topic, copies: Copies) -> dict[str, str]:
    """A topic's configuration."""
    config = {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": "-1",
        "message.timestamp.type": "CreateTime",
    }
    if topic.name == HEARTBEATS:
        # retention deletes whole segments
        config["segment.ms"] = str(_SEGMENT_MS)
    if topic.max_message_bytes is not None:
        config["max.message.bytes"] = str(topic.max_message_bytes)
    if copies.min_insync is not None:
        config["min.insync.replicas"] = str(copies.min_insync)
    return config


async def make_topics(cluster: Cluster, partitions: int, copies: Copies = _UNSAID) -> None:
    """Create missing topics and repair drifted configuration. Idempotent.

    Raises `PartitionsChangedError`, `ReplicasChangedError`, `ClusterUnavailableError`, `KafkaException`,
    `TimeoutError`.
    """
    topics = all_topics(partitions)
    found = await cluster.describe(topic.name for topic in topics)
    for topic in topics:
        if topic.name in found and found[topic.name].partitions != topic.partitions:
            raise PartitionsChangedError(
                f"topic {topic.name} has {found[topic.name].partitions} partitions, not {topic.partitions};"
                " a key's events would be split across partitions"
            )
        if topic.name in found and copies.replicas not in {None, found[topic.name].replicas}:
            raise ReplicasChangedError(
                f"topic {topic.name} has {found[topic.name].replicas} replicas, not {copies.replicas};"
                " change them with kafka-reassign-partitions.sh"
            )
    missing = [topic for topic in topics if topic.name not in found]
    if missing:
        await _create(cluster, missing, copies)
    await _mend(cluster, {topic.name: wanted(topic, copies) for topic in topics if topic.name in found})


async def _create(cluster: Cluster, topics: list[Topic], copies: Copies) -> None:
    replicas = copies.replicas or _AS_THE_BROKERS_ARE_SET_UP
    asked = cluster.admin.create_topics(
        [NewTopic(topic.name, topic.partitions, replicas, config=wanted(topic, copies)) for topic in topics],
        request_timeout=REQUEST_SECONDS,
    )
    for name, answer in asked.items():
        try:
            await answered(answer)
            _log.info("created topic %s", name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    async with asyncio.timeout(_VISIBLE_SECONDS):
        while len(await cluster.describe(topic.name for topic in topics)) < len(topics):  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0.05)


async def _mend(cluster: Cluster, by_name: Mapping[str, dict[str, str]]) -> None:
    if not by_name:
        return
    asked = cluster.admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in by_name])
    changes = []
    for resource, answer in asked.items():
        drifted = _drifted(await answered(answer), by_name[resource.name])
        if drifted:
            _log.warning(
                "repairing drifted configuration of topic %s: %s", resource.name, ", ".join(sorted(drifted))
            )
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in drifted.items()
            ]
            changes.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=entries))
    if changes:
        for done in cluster.admin.incremental_alter_configs(changes).values():
            await answered(done)


def _drifted(found: Mapping[str, ConfigEntry], right: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in right.items() if name not in found or found[name].value != value}


async def prepare(settings: TopicsSettings) -> None:
    """Create and repair the topics and the users' access to them, and record the topics' incarnations."""
    cluster = Cluster(settings)
    copies = Copies(settings.topic_replicas, settings.topic_min_insync_replicas)
    await make_topics(cluster, settings.topic_partitions, copies)
    await set_passwords(cluster, settings.kafka_user_passwords)
    if settings.kafka_users is not None:
        await grant(cluster, settings.kafka_users)
    async with (
        await connect(settings.postgres_url.get_secret_value()) as connection,
        asyncio.timeout(_VISIBLE_SECONDS),
    ):
        while True:
            try:
                await observe(connection, cluster)
                break
            except (TopicMissingError, ClusterUnavailableError) as error:
                # not every broker knows the new topics yet, or leads its partitions
                _log.info("waiting for the topics: %s", error)
            await asyncio.sleep(0.1)


def main() -> None:
    """Create and repair the topics."""
    settings = read_settings(TopicsSettings)
    configure_logging(settings.log_level, settings.log_format, service="topics")
    try:
        asyncio.run(prepare(settings))
    except (
        PartitionsChangedError,
        ReplicasChangedError,
        ClusterUnavailableError,
        TopicMissingError,
    ) as error:
        _log.error("cannot prepare the topics: %s", error)
        raise SystemExit(1) from None
    except (KafkaException, psycopg.Error, TimeoutError) as error:
        reason = error.args[0].name() if isinstance(error, KafkaException) else type(error).__name__
        _log.error("cannot prepare the topics: %s", reason)
        raise SystemExit(1) from None
