"""Concurrent reads of the same kind share a round trip."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_LARGEST: Final = 256


class Batches(Generic[K, V]):
    """Collects the keys requested while a round trip is in flight and reads them together in the next.

    One round trip at a time, since it costs far more than a document in it. No result is older than its
    request: a key only joins a round trip that has not started.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], name: str) -> None:
        self._read = read
        self._name = name
        self._waiting: list[tuple[Sequence[K], asyncio.Future[Mapping[K, V]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """The value of `key`, or None. Raises whatever the read raises."""
        return (await self._ask((key,))).get(key)

    async def get_all(self, keys: Iterable[K]) -> Mapping[K, V]:
        """The values of `keys`, and possibly more. Raises whatever the read raises."""
        wanted = tuple(keys)
        return await self._ask(wanted) if wanted else {}

    def _ask(self, keys: Sequence[K]) -> asyncio.Future[Mapping[K, V]]:
        future: asyncio.Future[Mapping[K, V]] = asyncio.get_running_loop().create_future()
        self._waiting.append((keys, future))
        if self._task is None:
            # it starts in the event loop's next iteration, so all requests of this iteration join it
            self._task = asyncio.create_task(self._run(), name=self._name)
        return future

    async def _run(self) -> None:
        try:
            await self._run_all()
        finally:
            # in the same step that found no key waiting: the next request must see that nothing runs
            self._task = None

    async def _run_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:_LARGEST], self._waiting[_LARGEST:]
            keys = list({key: None for wanted, future in taken if not future.done() for key in wanted})
            if not keys:
                continue
            try:
                found = await self._read(keys)
            except Exception as error:  # raised to the callers
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
            else:
                for _, future in taken:
                    if not future.done():
                        future.set_result(found)

    async def close(self) -> None:
        """Cancel the read in flight."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
