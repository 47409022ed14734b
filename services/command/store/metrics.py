"""The event store's Prometheus metrics."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import BUCKETS

_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class StoreMetrics:
    """Batches, their appends, and the commands that were overtaken."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch_size = Histogram(
            "command_batch_size",
            "Commands that shared one transaction.",
            buckets=_SIZES,
            registry=registry,
        )
        self.append_seconds = Histogram(
            "command_append_duration_seconds",
            "Time to store a batch durably.",
            buckets=BUCKETS,
            registry=registry,
        )
        self.losses = Counter(
            "command_losses_total",
            "Commands to be decided again, by reason: stale, key, conflict, keyless or deadlock.",
            ["reason"],
            registry=registry,
        )
        self.lock_waits = Counter(
            "command_lock_waits_total", "Commands blocked by another session's row lock.", registry=registry
        )
        self.connections_lost = Counter(
            "command_store_connections_lost_total", "Connections lost during a batch.", registry=registry
        )
        self.waiting = Gauge("command_waiting", "Commands waiting for a writer.", registry=registry)
