"""What the relay tells Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.command.relay.outbox import COUNTED

_SIZES: Final = (1, 4, 16, 64, 256, 512, 1024, 2048)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class RelayMetrics:
    """The outbox, what was published from it, and what stands in the way. By shard."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = Gauge(
            "relay_active", "1 where this process is the shard's publisher.", ["shard"], registry=registry
        )
        self.depth = Gauge(
            "relay_outbox_events",
            f"Events waiting in the outbox; counted are the {COUNTED} oldest of all shards: more may wait.",
            ["shard"],
            registry=registry,
        )
        self.age = Gauge(
            "relay_outbox_oldest_seconds",
            "How long the oldest event has been waiting in the outbox.",
            ["shard"],
            registry=registry,
        )
        self.published = Counter(
            "relay_published_total", "Events acknowledged by Kafka.", ["topic"], registry=registry
        )
        self.batch_size = Histogram(
            "relay_batch_size", "Events published together.", buckets=_SIZES, registry=registry
        )
        self.send_seconds = Histogram(
            "relay_send_duration_seconds",
            "Time from handing a batch to the producer to all its acknowledgements.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.latency_seconds = Histogram(
            "relay_publish_latency_seconds",
            "Time from an event's commit to its acknowledgement, of the oldest of each batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.failures = Counter(
            "relay_failures_total", "Publishers that had to start again.", ["reason"], registry=registry
        )
        self.set_aside = Counter(
            "relay_set_aside_total", "Events that Kafka refuses for good.", ["topic"], registry=registry
        )
        self.streams_set_aside = Gauge(
            "relay_streams_set_aside", "Streams that wait for an operator.", registry=registry
        )
        self.history_missing = Gauge(
            "relay_topic_history_missing",
            "1 where a topic was made anew or emptied, and `republish` is due.",
            ["topic"],
            registry=registry,
        )
        self.heartbeats = Counter("relay_heartbeats_total", "Heartbeats sent.", ["shard"], registry=registry)
