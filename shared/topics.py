"""The Kafka topics, through which the services and other teams communicate."""

from dataclasses import dataclass
from typing import Final, Literal

Category = Literal["orders", "customers", "products"]
"""A kind of aggregate, which is also the name of its topic."""

CATEGORIES: Final[tuple[Category, ...]] = ("orders", "customers", "products")
HEARTBEATS: Final = "heartbeats"
DEFAULT_PARTITIONS: Final = 12
HEARTBEAT_RETENTION_MS: Final = 3_600_000
PROJECTION_GROUPS: Final = "projection-"
"""The prefix of the names of the projection's consumer groups."""

# Record headers.
CONTENT_TYPE: Final = "content-type"
INCARNATION: Final = "incarnation"
RECEIVED_AT: Final = "received-at"
COMMITTED_AT: Final = "committed-at"
TRACEPARENT: Final = "traceparent"

# Headers added to a dead letter's record: where it was read, its timestamp there, what was wrong, and when it
# was set aside.
DEAD_LETTER_TOPIC: Final = "dead-letter-topic"
DEAD_LETTER_PARTITION: Final = "dead-letter-partition"
DEAD_LETTER_OFFSET: Final = "dead-letter-offset"
DEAD_LETTER_TIMESTAMP: Final = "dead-letter-timestamp"
DEAD_LETTER_ERROR: Final = "dead-letter-error"
DEAD_LETTER_TIME: Final = "dead-letter-time"

CLOUDEVENTS_JSON: Final = b"application/cloudevents+json"


_LARGEST_LETTER: Final = 2 * 1024 * 1024
"""Bytes. A record that just fits a topic with the brokers' defaults fits here with the added headers."""


def dead_letters(topic: str) -> str:
    """The topic for what a consumer of `topic` could not use."""
    return f"{topic}.dlq"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be configured. `retention_ms` -1 keeps records forever.

    `max_message_bytes` is the largest batch it takes, None for the brokers' setting.
    """

    name: str
    partitions: int
    retention_ms: int
    max_message_bytes: int | None = None


def all_topics(partitions: int = DEFAULT_PARTITIONS) -> tuple[Topic, ...]:
    """Every topic of the system; the events' own and their dead letters have `partitions` each."""
    events = [Topic(name, partitions, -1) for name in CATEGORIES]
    dead = [Topic(dead_letters(name), partitions, -1, _LARGEST_LETTER) for name in CATEGORIES]
    return (*events, *dead, Topic(HEARTBEATS, 1, HEARTBEAT_RETENTION_MS))
