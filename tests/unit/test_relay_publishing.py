"""The publisher's loops."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.command.relay.metrics import RelayMetrics
from services.command.relay.publishing import Publisher


async def nothing(*_: object) -> list[Any]:
    """No rows, no records, no news."""
    return []


def publisher() -> Publisher:
    """A publisher whose outbox is empty."""
    parts: Any = SimpleNamespace(oldest=nothing, delete=nothing, check=nothing, send=nothing, set_aside={})
    lock: Any = SimpleNamespace(wanted=asyncio.Event(), give_way=nothing)
    encode: Any = nothing
    metrics = RelayMetrics(CollectorRegistry())
    return Publisher(parts, lock, parts, encode, parts, metrics, regained=nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("ticks", range(8))
async def test_a_notification_does_not_keep_it_from_ending(ticks: int) -> None:
    publishing = publisher()
    running = asyncio.create_task(publishing.run())
    for _ in range(10):
        await asyncio.sleep(0)
    publishing.wake()
    # whichever of the two a step of the event loop sees first
    for _ in range(ticks):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=2)
    running.cancel()  # a second time, to leave nothing running after a failure
    assert done
