"""Waiting for a version: what is read when, and how fresh it counts as."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from starlette.types import Message

from services.query.arrivals import Arrivals
from services.query.http.waiting import at_least
from shared.problems import Problem


@dataclass(frozen=True)
class Document:
    version: int


async def nothing() -> Message:
    """A client that stays connected."""
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def waited(versions: Iterator[int]) -> Document:
    async def read() -> Document:
        return Document(next(versions))

    return await at_least(read, 2, 0.05, Arrivals(), ("orders", "o1"), nothing, lambda: None)


async def test_a_wait_that_expires_reads_once_more() -> None:
    assert await waited(iter([1, 2])) == Document(2)


async def test_a_wait_that_expires_without_the_version_is_refused() -> None:
    with pytest.raises(Problem, match="Retry"):
        await waited(iter([1, 1]))


async def waited_for_an_event(steps: list[str]) -> Document:
    """Waits through a change that brings no event, then for one that does; notes what is done."""
    arrivals = Arrivals()
    reads = iter([1, 1, 2])

    async def read() -> Document:
        steps.append("read")
        return Document(next(reads))

    async def build(_: object) -> Document:
        steps.append("build")
        return Document(2)

    async def change() -> None:
        arrivals.changed("orders", "o1")
        await asyncio.sleep(0)
        arrivals.changed("orders", "o1", cast("Any", "an event"))

    changing = asyncio.create_task(change())
    found = await at_least(
        read, 2, 20, arrivals, ("orders", "o1"), nothing, lambda: steps.append("begin"), build
    )
    await changing
    return found


async def test_a_document_is_built_from_an_event_that_arrives_soon_after_the_last_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.query.http.waiting._YOUNG_SECONDS", 60.0)
    steps: list[str] = []
    assert await waited_for_an_event(steps) == Document(2)
    assert steps == ["read", "begin", "read", "build"]


async def test_after_a_longer_wait_the_document_is_read_and_its_freshness_is_that_of_this_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.query.http.waiting._YOUNG_SECONDS", 0.0)
    steps: list[str] = []
    assert await waited_for_an_event(steps) == Document(2)
    assert steps == ["read", "begin", "read", "begin", "read"]


async def test_the_last_read_of_an_expired_wait_determines_its_freshness() -> None:
    steps: list[str] = []
    versions = iter([1, 2])

    async def read() -> Document:
        steps.append("read")
        return Document(next(versions))

    await at_least(read, 2, 0.05, Arrivals(), ("orders", "o1"), nothing, lambda: steps.append("begin"))
    assert steps == ["read", "begin", "read"]
