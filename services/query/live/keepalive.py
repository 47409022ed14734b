"""Heartbeats from work that may take long."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def with_keepalive(parts: AsyncGenerator[T, None], seconds: float) -> AsyncGenerator[T | None, None]:
    """The parts as they arrive, and None every `seconds`, whether or not parts arrive."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    coming = asyncio.ensure_future(anext(parts))
    try:
        while True:
            await asyncio.wait([coming], timeout=max(0.0, due - loop.time()))
            if loop.time() >= due:
                due = loop.time() + seconds
                yield None
            if not coming.done():
                continue
            try:
                part = coming.result()
            except StopAsyncIteration:
                return
            yield part
            coming = asyncio.ensure_future(anext(parts))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await parts.aclose()
