"""Read your own writes: a response that waits until the document has reached a version."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from starlette.types import Receive

from services.query.arrivals import Arrivals, Kind
from services.query.documents.feed import FeedEvent
from services.query.http.problems import READ_MODEL_BEHIND
from shared.problems import Problem, retry_after_header

_YOUNG_SECONDS: Final = 0.3


class Versioned(Protocol):
    """A document with a version."""

    @property
    def version(self) -> int:
        """The document's version."""


V = TypeVar("V", bound=Versioned)


class ClientGoneError(Exception):
    """The caller disconnected while waiting for the response."""


def behind() -> Problem:
    """503 `read-model-behind`."""
    return Problem(
        READ_MODEL_BEHIND, "Retry, or hold the response with Prefer: wait.", headers=[retry_after_header(1)]
    )


async def at_least(
    read: Callable[[], Awaitable[V | None]],
    version: int,
    seconds: float | None,
    arrivals: Arrivals,
    of: tuple[Kind, str],
    receive: Receive,
    begin_reading: Callable[[], None],
    build: Callable[[FeedEvent], Awaitable[V | None]] | None = None,
) -> V:
    """The result of `read` once it has `version`; 503 `read-model-behind` after `seconds`.

    `read` must return None for a document the caller may not see: it then waits as long as for a missing one.
    `build` builds the document from an event that arrives meanwhile, which saves a read: since that version
    was missing when this started, no newer one was shown to anyone before. But only the previous read tells
    how fresh it is, so after a longer wait the document is read anyway, and once more when time is up.
    `begin_reading` is called before each further read.
    """
    if not seconds:
        found = await read()
        if found is None or found.version < version:
            raise behind()
        return found
    with arrivals.expecting(*of) as expectation:
        changed = expectation.changed
        gone = asyncio.create_task(_gone(receive), name="waiting caller")
        gone.add_done_callback(lambda _: changed.set())
        try:
            async with asyncio.timeout(seconds):
                read_at = time.monotonic()
                found = await read()
                while True:
                    if found is not None and found.version >= version:
                        return found
                    if arrivals.stopped:
                        raise behind()
                    await changed.wait()
                    if gone.done():
                        raise ClientGoneError
                    changed.clear()
                    event, expectation.event = expectation.event, None
                    young = time.monotonic() - read_at < _YOUNG_SECONDS
                    found = None if event is None or build is None or not young else await build(event)
                    if found is None or found.version < version:
                        begin_reading()
                        read_at = time.monotonic()
                        found = await read()
        except TimeoutError:
            pass
        finally:
            gone.cancel()
    begin_reading()
    found = await read()  # the change stream may be late
    if found is None or found.version < version:
        raise behind()
    return found


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
