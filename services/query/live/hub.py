"""The process's only reader of news, and its subscribers."""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from services.query.arrivals import Arrivals
from services.query.documents.changes import Position
from services.query.documents.errors import CannotResumeError, DocumentsUnavailableError
from services.query.documents.feed import Feed, News
from services.query.documents.generations import LiveGeneration
from services.query.documents.names import Names
from services.query.live.cursors import Beginnings, seconds_of
from services.query.live.filters import Filters, Key, keys_of
from services.query.live.messages import Message
from services.query.live.subscription import Ended, Subscription
from shared.documents import CUSTOMERS, FEED_SECONDS

_WAIT_MS: Final = 1000
_RETRY_SECONDS: Final = 0.25
_BEGIN_SECONDS: Final = 3.0
_BEAT_SECONDS: Final = 10.0
_REMEMBERED: Final = 1000
_CLOCK_SECONDS: Final = 5
_log = logging.getLogger(__name__)


class Hub:
    """Follows the news: reports order events to subscriptions and changed documents to `Arrivals`.

    The task `following` ends only on a bug of ours; it continues through any failure of the store. The last
    messages are kept, so that a stream that reconnects soon needs no reader of its own.
    """

    def __init__(self, feed: Feed, live: LiveGeneration, arrivals: Arrivals, names: Names) -> None:
        self._feed = feed
        self._live = live
        self._arrivals = arrivals
        self._names = names
        self._position: Position | None = None
        self._settled = asyncio.Event()
        self._beginnings: Final = Beginnings()
        self.beat_seconds: Final = _BEAT_SECONDS
        self._remembered: deque[Message] = deque()
        self._remembered_after: Position = ""
        self._tasks: Sequence[asyncio.Task[None]] = ()
        self.following: asyncio.Task[None] | None = None
        self._subscriptions: defaultdict[Key, set[Subscription]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())

    async def __aenter__(self) -> Self:
        self.following = asyncio.create_task(self._run(), name="news")
        beats = asyncio.create_task(self._beat(), name="heartbeats of streams")
        self._tasks = [self.following, beats]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        """Follow until cancelled, through any failure of the store."""
        while True:
            try:
                await self._follow()
            except CannotResumeError:
                _log.warning("the feed's history no longer holds the last position: streams are reset")
                self._lost()
            except DocumentsUnavailableError as error:
                if self._settled.is_set():
                    _log.warning("the feed cannot be read: %s", error)
                self._settled.clear()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.beat_seconds)
            for subscriptions in self._subscriptions.values():
                for subscription in subscriptions:
                    subscription.beat()

    async def _follow(self) -> None:
        """Read news from where the last read ended until the pointer moves."""
        pointer = await self._live.latest()
        try:
            async with self._feed.all_news(pointer, self._position) as stream:
                if await self._live.latest() != pointer:
                    return  # it moved before this stream was open, which may not report that
                # what changed before this stream was open is seen by reading again
                self._arrivals.anything_may_have_changed()
                while True:
                    news = await stream.next(_WAIT_MS)
                    self._names.alive()
                    self._tell(news)
                    if news.pointer_moved:
                        self._live.moved()
                        return
        finally:
            self._names.lost()

    def _tell(self, news: News) -> None:
        if self._position is None:
            self._remembered_after = news.position
        self._position = news.position
        self._beginnings.learn(news.position)
        for kind, document_id in news.touched:
            if kind == CUSTOMERS:
                self._names.changed(document_id)
        for event in news.events:
            message = Message(event)
            self._remember(message)
            if self._arrivals:
                self._arrivals.changed("orders", event.order_id, event)
            if self._subscriptions:
                self._dispatch(message)
        for kind, document_id in news.touched:
            self._arrivals.changed(kind, document_id)
        if news.settled:
            self._settled.set()
        else:
            self._settled.clear()

    def _remember(self, message: Message) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered_after = self._remembered.popleft().event.position
        self._remembered.append(message)

    def _dispatch(self, message: Message) -> None:
        for key in keys_of(message.event):
            for subscription in self._subscriptions.get(key, ()):
                subscription.offer(message)

    def _lost(self) -> None:
        self._position = None
        self._settled.clear()
        self._remembered.clear()
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.end(Ended.LOST)
        self._subscriptions.clear()
        self._arrivals.anything_may_have_changed()

    async def begin(self, filters: Filters) -> Subscription:
        """A subscription to events from now on; `DocumentsUnavailableError` if the feed is unavailable."""
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                # in the middle of a transaction no starting point can separate its events
                while not self._settled.is_set():
                    await self._settled.wait()
        except TimeoutError:
            raise DocumentsUnavailableError("the feed is not being followed") from None
        assert self._position is not None
        return self._add(Subscription(filters, self._beginnings.behind(self._position)))

    def can_be(self, position: Position) -> bool:
        """Whether a stream can resume there: the feed is kept for a day, and no position is in the future.

        Clocks and replicas may differ by a few seconds.
        """
        if self._position is None:
            return True
        ahead = seconds_of(position) - seconds_of(self._position)
        return -FEED_SECONDS <= ahead <= _CLOCK_SECONDS

    def join(self, filters: Filters, after: Position) -> Subscription | None:
        """A subscription from right after `after`; None if that is older than the messages kept."""
        if self._position is None or after < self._remembered_after:
            return None
        subscription = self._add(Subscription(filters, after))
        for message in self._remembered:
            subscription.offer(message)
        return subscription

    def _add(self, subscription: Subscription) -> Subscription:
        self._subscriptions[subscription.filters.key].add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Send it no more messages."""
        key = subscription.filters.key
        sharing = self._subscriptions.get(key)
        if sharing is not None:
            sharing.discard(subscription)
            if not sharing:
                del self._subscriptions[key]
