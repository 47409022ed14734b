"""The loop that sends a shard's heartbeats."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from services.command.relay import heartbeats
from services.command.relay.heartbeats import Heartbeats
from services.command.relay.incarnations import TopicRemadeError
from services.command.relay.metrics import RelayMetrics
from tests.servers import eventually


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


class Around:
    """What a heartbeat reads and writes, in `steps`; an outbox where up to position 5 waits at first."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.spans = iter([(1, 5), (3, 9), (6, 9)])
        self.partitions: dict[str, int] = {}
        self.ids: dict[str, str] = {}
        self.complete = True
        self.emptied = False
        self.publishing = asyncio.Event()
        self.publishing.set()
        us: Any = self
        metrics = RelayMetrics(CollectorRegistry())
        self.heartbeats = Heartbeats(us, us, us, us, self.publishing, metrics, shards=1, shard=0)

    async def span(self) -> tuple[datetime, int, int]:
        oldest, newest = next(self.spans)
        self.steps.append(f"from {oldest}")
        return datetime(2026, 1, 1, 0, 0, oldest, tzinfo=UTC), oldest, newest

    async def end_offsets(self, _: object) -> dict[str, list[int]]:
        self.steps.append("ends")
        return {}

    async def check_beginnings(self) -> None:
        if self.emptied:
            raise TopicRemadeError("emptied")

    async def check(self) -> None:
        self.steps.append("check")

    async def send_and_wait(self, _: str, beat: bytes) -> None:
        self.steps.append(orjson.loads(beat)["t"])


async def test_offsets_are_read_once_all_that_waited_at_the_heartbeats_time_is_published() -> None:
    around = Around()
    await around.heartbeats._beat()
    assert around.steps == ["from 1", "from 3", "from 6", "ends", "check", "2026-01-01T00:00:01.000Z"]


async def test_a_heartbeat_waits_for_a_republish() -> None:
    around = Around()
    around.publishing.clear()
    beating = asyncio.create_task(around.heartbeats._beat())

    async def has_read() -> bool:
        return "ends" in around.steps

    await eventually(has_read, "the offsets are read")
    await asyncio.sleep(0)
    assert "check" not in around.steps
    around.publishing.set()
    await beating
    assert len(around.steps) == 6


async def test_no_heartbeat_is_sent_for_an_emptied_or_incomplete_topic() -> None:
    emptied, incomplete = Around(), Around()
    emptied.emptied, incomplete.complete = True, False
    with pytest.raises(TopicRemadeError):
        await emptied.heartbeats._beat()
    await incomplete.heartbeats._beat()
    assert emptied.steps[-1] == "ends"
    assert incomplete.steps[-1] == "check"
