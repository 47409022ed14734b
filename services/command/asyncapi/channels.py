"""The channels: one per topic, each with its purpose, who may read it, and its broker configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.command.asyncapi.messages import dead_letter_name, message_name
from shared.events import EVENTS, Event
from shared.topics import CATEGORIES, HEARTBEATS, Topic, all_topics, dead_letters

KAFKA_BINDING: Final = "0.5.0"


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic as other teams see it. `messages` are names of component messages."""

    topic: Topic
    description: str
    readers: str
    writers: str
    tag: str
    messages: tuple[str, ...]

    @property
    def internal(self) -> bool:
        """Whether it is of no use outside the system."""
        return self.tag == "internal"

    def completion(self) -> dict[str, Any]:
        """What FastStream's channel lacks: title, tags, messages, access, broker configuration."""
        name = self.topic.name
        return {
            "title": name,
            "description": self.description,
            "tags": [{"name": self.tag}],
            "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in self.messages},
            "bindings": {
                "kafka": {
                    "topic": name,
                    "partitions": self.topic.partitions,
                    "topicConfiguration": {
                        "cleanup.policy": ["delete"],
                        "retention.ms": self.topic.retention_ms,
                    },
                    "bindingVersion": KAFKA_BINDING,
                }
            },
            "x-internal": self.internal,
            "x-access": {"read": self.readers, "write": self.writers},
        }


def channels() -> tuple[Channel, ...]:
    """Every channel, in the order of `shared.topics.all_topics`."""
    topics = {topic.name: topic for topic in all_topics()}
    events = [_events(topics[name], EVENTS[name]) for name in CATEGORIES]
    dead = [_dead_letters(name, topics[dead_letters(name)]) for name in CATEGORIES]
    return (*events, *dead, _heartbeats(topics[HEARTBEATS]))


def _events(topic: Topic, types: Mapping[str, type[Event]]) -> Channel:
    return Channel(
        topic,
        f"Every event of {topic.name}, retained forever. Keyed by the aggregate's id, so the events of one "
        "aggregate are in one partition, in order of `version`: 1, 2, 3 … without gaps. Delivery is at "
        "least once; a duplicate has the same `id` and `version`.",
        "Any team that was granted access: READ and DESCRIBE on this topic, READ on its own consumer groups.",
        "The relay, and `republish` while the relay yields to it.",
        "events",
        tuple(
            message_name(name, version)
            for name, event in types.items()
            for version in range(1, event.schema_version + 1)
        ),
    )


def _dead_letters(source: str, topic: Topic) -> Channel:
    return Channel(
        topic,
        f"Records of `{source}` that the projection could not use: the original bytes, key and headers, and "
        "after a bad event all later ones of the same aggregate, in order, until it is redriven.",
        "The projection and its operators; not granted to subscribing teams.",
        "The projection only.",
        "dead letters",
        (dead_letter_name(source),),
    )


def _heartbeats(topic: Topic) -> Channel:
    return Channel(
        topic,
        "Internal: how the system measures its own freshness. The format may change at any time.",
        "The projection only.",
        "The relay only.",
        "internal",
        ("Heartbeat",),
    )
