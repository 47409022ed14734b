"""The loop that sends a shard's heartbeats."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from services.command.relay import heartbeats
from services.command.relay.heartbeats import Heartbeats
from services.command.relay.metrics import RelayMetrics


async def unchanged() -> None:
    """What checking the topics finds."""


async def test_a_heartbeat_that_is_never_acknowledged_ends_the_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeats, "SEND_SECONDS", 0.05)

    async def span() -> tuple[datetime, None, None]:
        return datetime.now(UTC), None, None

    async def end_offsets(_: object) -> dict[str, list[int]]:
        return {}

    def send_and_wait(*_: object) -> Awaitable[object]:
        return asyncio.get_running_loop().create_future()

    topics = SimpleNamespace(
        partitions={}, ids={}, complete=True, check=unchanged, check_beginnings=unchanged
    )
    publishing = asyncio.Event()
    publishing.set()
    beats = Heartbeats(
        SimpleNamespace(span=span),  # type: ignore[arg-type] # only what a heartbeat needs
        SimpleNamespace(end_offsets=end_offsets),  # type: ignore[arg-type]
        topics,  # type: ignore[arg-type]
        SimpleNamespace(send_and_wait=send_and_wait),
        publishing,
        RelayMetrics(CollectorRegistry()),
        shards=1,
        shard=0,
    )
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await beats.run()
