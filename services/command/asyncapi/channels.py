"""The channels: one per topic, each with what it is for, who may read it, and how the broker keeps it."""

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
        """Whether nobody outside of the system has a use for it."""
        return self.tag == "internal"

    def completion(self) -> dict[str, Any]:
        """What FastStream's channel lacks: titles, messages, access, the broker's side."""
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
        f"Everything that ever happened to {topic.name}, kept for ever. Keyed by the aggregate's id, so that "
        "the events of one aggregate stand in one partition, in the order of `version`: 1, 2, 3 … with no "
        "hole. Delivery is at least once; a repeat has the same `id` and `version`.",
        "Any team that was granted it: READ and DESCRIBE on this topic, READ on its own consumer groups.",
        "The relay, and `republish` while the relay makes way for it.",
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
        f"What the projection could not use of `{source}`: the original bytes, key and headers, and after a "
        "bad event everything of the same aggregate, in order, until it is redriven.",
        "The projection and who operates it; granted to no subscribing team.",
        "The projection only.",
        "dead letters",
        (dead_letter_name(source),),
    )


def _heartbeats(topic: Topic) -> Channel:
    return Channel(
        topic,
        "Internal: how the system measures its own freshness. Its form may change at any time.",
        "The projection only.",
        "The relay only.",
        "internal",
        ("Heartbeat",),
    )
