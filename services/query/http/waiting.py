"""Read your own writes: an answer that waits until the document has reached a version."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from starlette.types import Receive

from services.query.arrivals import Arrivals, Kind
from services.query.http.problems import READ_MODEL_BEHIND
from shared.problems import Problem, retry_after_header


class Versioned(Protocol):
    """A document that knows its version."""

    @property
    def version(self) -> int:
        """Which one it is."""


V = TypeVar("V", bound=Versioned)


class ClientGoneError(Exception):
    """The caller hung up while it waited for its answer."""


def behind() -> Problem:
    """503 `read-model-behind`."""
    return Problem(
        READ_MODEL_BEHIND, "Ask again, or hold the answer by Prefer: wait.", headers=[retry_after_header(1)]
    )


async def at_least(
    read: Callable[[], Awaitable[V | None]],
    version: int,
    seconds: float | None,
    arrivals: Arrivals,
    of: tuple[Kind, str],
    receive: Receive,
) -> V:
    """What `read` gives once that has `version`; 503 `read-model-behind` after `seconds`.

    What the caller may not see must come as None: it then waits as long as what is not there.
    """
    if not seconds:
        found = await read()
        if found is None or found.version < version:
            raise behind()
        return found
    with arrivals.expecting(*of) as changed:
        gone = asyncio.create_task(_gone(receive), name="waiting caller")
        gone.add_done_callback(lambda _: changed.set())
        try:
            async with asyncio.timeout(seconds):
                while True:
                    changed.clear()
                    found = await read()
                    if found is not None and found.version >= version:
                        return found
                    if arrivals.stopped:
                        raise behind()
                    await changed.wait()
                    if gone.done():
                        raise ClientGoneError
        except TimeoutError:
            raise behind() from None
        finally:
            gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
