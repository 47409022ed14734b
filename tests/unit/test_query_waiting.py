"""Waiting for a version, when the change stream reports nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

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
