"""What this service counts and measures."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import BUCKETS
from shared.topics import CATEGORIES

_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000)


class ProjectionMetrics:
    """The figures of one process. Counters are by topic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            counted = Counter(f"projection_{name}", text, ["topic"], registry=registry)
            for topic in CATEGORIES:
                counted.labels(topic)  # shown as 0 from the start, so that the first one is an increase
            return counted

        self.events = counter("events", "Events applied to the documents.")
        self.repeats = counter("repeats", "Events dropped because they had been applied before.")
        self.holes = counter("holes", "Events whose predecessor had not been seen: each is an alarm.")
        self.dead_letters = counter("dead_letters", "Records sent to the dead letters.")
        self.faults = counter("faults", "Transient faults, each of which pauses a partition.")
        self.restarts = counter("restarts", "Partitions sent back to their beginning.")
        self.fenced = counter("fenced", "Batches dropped because somebody else had moved the checkpoint.")
        self.batch_size = Histogram(
            "projection_batch_size", "Records per batch.", ["topic"], buckets=_SIZES, registry=registry
        )
        self.apply_seconds = Histogram(
            "projection_apply_seconds",
            "Time to fold and write a batch.",
            ["topic"],
            buckets=BUCKETS,
            registry=registry,
        )
        place = ["topic", "partition"]
        self.lag_events = Gauge(
            "projection_lag_events", "Events not yet in the documents.", place, registry=registry
        )
        self.lag_seconds = Gauge(
            "projection_lag_seconds", "How far the documents may be behind.", place, registry=registry
        )
        self.parked = Gauge(
            "projection_parked_streams", "Streams that wait in the dead letters.", registry=registry
        )
        self.generation = Gauge(
            "projection_generation_info",
            "The generation that this process fills.",
            ["generation"],
            registry=registry,
        )
