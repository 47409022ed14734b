"""The relay process: a publisher or standby for each shard, and the endpoints for operators."""

import asyncio
from typing import Final

import psycopg
from confluent_kafka import KafkaException

from services.command.relay.cluster import Cluster, ClusterUnavailableError
from services.command.relay.connecting import connect
from services.command.relay.listening import Listener
from services.command.relay.metrics import RelayMetrics
from services.command.relay.shard import Shard
from services.command.relay.shares import Shares
from services.command.settings import RelaySettings
from shared.process import collect_rarely, run, serve, stop_signal
from shared.settings import read_settings
from shared.telemetry import (
    Observed,
    Operations,
    Readiness,
    RequestMetrics,
    configure_logging,
    configure_tracing,
    new_registry,
)
from shared.telemetry.operations import nothing_here
from shared.topics import CATEGORIES, HEARTBEATS

_ASK_SECONDS: Final = 1.5


def main() -> None:
    """Run the relay until a signal stops it."""
    settings = read_settings(RelaySettings)
    configure_logging(settings.log_level, settings.log_format, service="relay")
    configure_tracing("relay")
    collect_rarely()  # a full collection traverses everything imported, 80 ms each time
    run(_run(settings))


async def _run(settings: RelaySettings) -> None:
    stopping = stop_signal()
    registry = new_registry()
    url = settings.postgres_url.get_secret_value()
    needed = (*CATEGORIES, HEARTBEATS)
    metrics = RelayMetrics(registry)
    cluster = Cluster(settings)
    listener = Listener(url)
    shares = Shares(settings.relay_shards)
    shards = [
        Shard(settings, each, shares, cluster, listener, metrics) for each in range(settings.relay_shards)
    ]

    async def postgres() -> str | None:
        try:
            async with await connect(url) as connection:
                await connection.execute("SELECT 1")
        except psycopg.Error:
            return "it does not answer"
        return None

    async def publishers() -> str | None:
        faults = {shard.fault for shard in shards if shard.fault is not None}
        return "; ".join(sorted(faults)) or None

    async def kafka() -> str | None:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                found = await cluster.describe(needed)
        except (ClusterUnavailableError, KafkaException, TimeoutError):
            return "no broker answers"
        missing = [topic for topic in needed if topic not in found]
        return f"topics are missing: {', '.join(missing)}" if missing else None

    readiness = Readiness({"postgres": postgres, "kafka": kafka, "publishers": publishers})
    app = Observed(Operations(nothing_here, readiness, registry), RequestMetrics(registry))
    async with serve(app, settings.host, settings.port), asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(work) for work in (listener.run(), *(shard.run() for shard in shards))]
        await stopping.wait()
        readiness.stopping = True
        await asyncio.gather(*(shard.drain() for shard in shards))
        for task in working:
            task.cancel()
