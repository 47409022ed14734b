"""One stream's bounded queue of live messages."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from services.query.documents.changes import Position
from services.query.live.filters import Filters
from services.query.live.messages import Message

MOST_WAITING: Final = 10_000
"""Messages; a stream that falls further behind is cut off. They are shared, so many readers cost little."""
MOST_WHILE_STUCK: Final = 1000
"""The same for a reader that does not take what it is sent. A burst alone does not make a reader slow."""
_STUCK_SECONDS: Final = 0.5
LONGEST_STUCK_SECONDS: Final = 20.0
"""A reader that takes nothing for this long is cut off, however few messages wait for it."""
MOST_TAKEN: Final = 100


class Ended(Enum):
    """Why a stream gets no further messages."""

    TOO_SLOW = auto()
    LOST = auto()
    """Messages may be missing: the stream must be reset."""


class TooSlowError(Exception):
    """The stream's reader has fallen too far behind."""


class Subscription:
    """Messages after `after`, waiting to be sent. `on_too_slow` is called when the stream is cut off."""

    def __init__(
        self, filters: Filters, after: Position, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.filters: Final = filters
        self.after: Final = after
        self._clock = clock
        self._sending_since: float | None = None
        self.on_too_slow: Callable[[], None] | None = None
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._beat_due = False
        self.ended: Ended | None = None

    def offer(self, message: Message) -> None:
        """Queue the message if the stream wants it."""
        if self.ended or message.event.position <= self.after or not self.filters.matches(message.event):
            return
        if len(self._waiting) >= MOST_WHILE_STUCK and self._is_full():
            self.end(Ended.TOO_SLOW)
            return
        self._waiting.append(message)
        self._arrived.set()

    def _is_full(self) -> bool:
        return len(self._waiting) >= MOST_WAITING or self._stuck_for() > _STUCK_SECONDS

    def _stuck_for(self) -> float:
        return 0.0 if self._sending_since is None else self._clock() - self._sending_since

    def end(self, why: Ended) -> None:
        """Accept no more messages, and drop those waiting if the reader is too slow."""
        self.ended = why
        self._arrived.set()
        if why is Ended.TOO_SLOW:
            self._waiting.clear()
            if self.on_too_slow is not None:
                self.on_too_slow()

    def beat(self) -> None:
        """Have the stream send a heartbeat; end it if its reader has been stuck for too long."""
        if not self.ended and self._stuck_for() > LONGEST_STUCK_SECONDS:
            self.end(Ended.TOO_SLOW)
        self._beat_due = True
        self._arrived.set()

    def sending(self) -> None:
        """Record that what was taken is being sent to the reader, until the next `take`."""
        self._sending_since = self._clock()

    async def take(self) -> Sequence[Message]:
        """The next messages; none if a heartbeat is due, or once it has ended."""
        self._sending_since = None
        await self._arrived.wait()
        most = 0 if self._beat_due else MOST_TAKEN
        self._beat_due = False
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), most))]
        if not self._waiting and not self.ended:
            self._arrived.clear()
        return taken
