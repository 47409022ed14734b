"""Live streams: new ones, and those that resume after a message."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from types import TracebackType
from typing import Final, Self

from services.query.documents.changes import Position
from services.query.documents.errors import CannotResumeError
from services.query.documents.feed import Feed, NewsStream
from services.query.live.cursors import cursor_of, position_of
from services.query.live.filters import Filters
from services.query.live.hub import Hub
from services.query.live.keepalive import with_keepalive
from services.query.live.messages import Message, Namer
from services.query.live.parts import Beginning, Part, Sent, span_of
from services.query.live.subscription import (
    LONGEST_STUCK_SECONDS,
    MOST_TAKEN,
    Ended,
    Subscription,
    TooSlowError,
)

_READERS: Final = 8
"""How many streams may read history at the same time."""
_WAIT_MS: Final = 50


class LiveStreams:
    """Opens streams."""

    def __init__(self, hub: Hub, feed: Feed, namer: Namer) -> None:
        self.hub: Final = hub
        self.feed: Final = feed
        self.namer: Final = namer
        self.readers: Final = asyncio.Semaphore(_READERS)
        self.entered: Final[set[LiveStream]] = set()

    def open(self, filters: Filters, cursor: str | None) -> "LiveStream":
        """A stream of the wanted messages; enter it to open it."""
        return LiveStream(self, filters, cursor)

    def stop(self) -> None:
        """End all streams: the process is about to stop."""
        for stream in list(self.entered):
            if stream.on_stop is not None:
                stream.on_stop()


class LiveStream:
    """One stream. Entering opens it; raises `DocumentsUnavailableError` if the feed is unavailable.

    A stream that resumes further back than the messages the hub keeps reads history through a change stream
    of its own until it has caught up with them. Then it joins the hub: both know every message's position, so
    that none is lost or sent twice.
    """

    def __init__(self, streams: LiveStreams, filters: Filters, cursor: str | None) -> None:
        self._streams = streams
        self._filters = filters
        self._cursor = cursor
        self._beginning: Beginning | None = None
        self._history: NewsStream | None = None
        self._subscription: Subscription | None = None
        self._stack = AsyncExitStack()
        self.on_too_slow: Callable[[], None] | None = None
        self.on_stop: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        position = None if self._cursor is None else position_of(self._cursor)
        if position is not None and self._streams.hub.can_be(position):
            await self._resume(position)
        if self._subscription is None and self._history is None:
            await self._begin()
        self._streams.entered.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.entered.discard(self)
        if self._subscription is not None:
            self._streams.hub.leave(self._subscription)
            self._subscription = None  # it refers to this stream, and may hold many messages
        await self._stack.aclose()

    async def _begin(self) -> None:
        self._subscribed(await self._streams.hub.begin(self._filters))
        assert self._subscription is not None
        self._beginning = Beginning(cursor_of(self._subscription.after), reset=self._cursor is not None)

    async def _resume(self, position: Position) -> None:
        assert self._cursor is not None
        if not self._join(position):
            filters = self._filters
            customer_id = filters.owner or filters.customer_id
            history = self._streams.feed.order_events(
                position, order_id=filters.order_id, customer_id=customer_id
            )
            try:
                async with self._streams.readers:
                    self._history = await self._stack.enter_async_context(history)
            except CannotResumeError:
                return
        self._beginning = Beginning(self._cursor, reset=False)

    def _join(self, position: Position) -> bool:
        subscription = self._streams.hub.join(self._filters, position)
        if subscription is None:
            return False
        self._subscribed(subscription)
        return True

    def _subscribed(self, subscription: Subscription) -> None:
        subscription.on_too_slow = self._too_slow
        self._subscription = subscription

    def _too_slow(self) -> None:
        if self.on_too_slow is not None:
            self.on_too_slow()

    async def parts(self) -> AsyncGenerator[Part, None]:
        """Everything the stream sends, in order, without end; raises `TooSlowError` once it is cut off."""
        assert self._beginning is not None
        yield self._beginning
        if self._history is not None:
            caught_up = with_keepalive(self._catch_up(self._history), self._streams.hub.beat_seconds)
            async with aclosing(caught_up) as parts:
                async for old in parts:
                    with self._cut_off_when_stuck():
                        yield old or ()
        while True:
            assert self._subscription is not None
            messages = await self._subscription.take()
            if self._subscription.ended is Ended.TOO_SLOW:
                # `on_too_slow` may not have been set yet, and no more messages will come
                raise TooSlowError
            named = await self._named(messages)
            self._subscription.sending()
            yield named
            if self._subscription.ended is Ended.LOST:
                self._cursor = self._cursor or ""
                await self._begin()
                yield self._beginning

    async def _catch_up(self, history: NewsStream) -> AsyncGenerator[Sequence[Sent], None]:
        joined = False
        while not joined:
            async with self._streams.readers:
                news = await history.next(_WAIT_MS)
            messages = [Message(event) for event in news.events if self._filters.matches(event)]
            for start in range(0, len(messages), MOST_TAKEN):
                yield await self._named(messages[start : start + MOST_TAKEN])
            joined = self._join(news.position)
        await self._stack.aclose()

    @contextmanager
    def _cut_off_when_stuck(self) -> Generator[None, None, None]:
        """Cut the stream off if its reader is stuck within. Later its subscription does that."""
        cut = asyncio.get_running_loop().call_later(LONGEST_STUCK_SECONDS, self._too_slow)
        try:
            yield
        finally:
            cut.cancel()

    async def _named(self, messages: Sequence[Message]) -> Sequence[Sent]:
        if not messages:
            return ()
        bodies = await self._streams.namer.named(messages)
        return [
            Sent(message.cursor, json, span_of(message))
            for message, json in zip(messages, bodies, strict=True)
        ]
