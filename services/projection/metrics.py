"""The service's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import BUCKETS
from shared.topics import CATEGORIES

_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000)


class ProjectionMetrics:
    """The metrics of one process. Counters are labelled by topic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            counted = Counter(f"projection_{name}", text, ["topic"], registry=registry)
            for topic in CATEGORIES:
                # exported as 0 from the start, so that the first event counts as an increase
                counted.labels(topic)
            return counted

        self.events = counter("events", "Events applied to the documents.")
        self.repeats = counter("repeats", "Events dropped because they had already been applied.")
        self.holes = counter("holes", "Gaps found in the versions of a stream; none are expected.")
        self.dead_letters = counter("dead_letters", "Records sent to a dead-letter topic.")
        self.faults = counter("faults", "Transient faults, each of which pauses a partition.")
        self.restarts = counter("restarts", "Restarts of a partition from its beginning.")
        self.fenced = counter("fenced", "Batches dropped because another writer had moved the checkpoint.")
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
            "projection_parked_streams", "Streams waiting in the dead-letter topics.", registry=registry
        )
        self.generation = Gauge(
            "projection_generation_info",
            "The generation that this process fills.",
            ["generation"],
            registry=registry,
        )
