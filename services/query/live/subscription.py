"""One stream's share of the live messages, within bounds."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from services.query.documents.changes import Position
from services.query.live.messages import Message
from services.query.live.wanted import Wanted

MOST_WAITING: Final = 1000
"""Messages; a reader that falls further behind is cut off. They are shared, so many readers cost little."""
_MOST_TAKEN: Final = 100


class Ended(Enum):
    """Why a stream gets no further messages."""

    TOO_SLOW = auto()
    LOST = auto()
    """Messages may be missing: the stream must be told to begin anew."""


class TooSlowError(Exception):
    """The stream's reader has fallen too far behind."""


class Subscription:
    """Messages that wait to be sent, those behind `after`. `on_too_slow` is called when it is cut off."""

    def __init__(self, wanted: Wanted, after: Position) -> None:
        self.wanted: Final = wanted
        self.after: Final = after
        self.on_too_slow: Callable[[], None] | None = None
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self.ended: Ended | None = None

    def offer(self, message: Message) -> None:
        """Take the message, if it is wanted."""
        if self.ended or message.event.position <= self.after or not self.wanted.matches(message.event):
            return
        if len(self._waiting) >= MOST_WAITING:
            self.end(Ended.TOO_SLOW)
            return
        self._waiting.append(message)
        self._arrived.set()

    def end(self, why: Ended) -> None:
        """Offer nothing any more, and let go of what waits if it is worthless."""
        self.ended = why
        self._arrived.set()
        if why is Ended.TOO_SLOW:
            self._waiting.clear()
            if self.on_too_slow is not None:
                self.on_too_slow()

    def beat(self) -> None:
        """Let the stream show that it lives."""
        self._arrived.set()

    async def take(self) -> Sequence[Message]:
        """The next messages; none when there is a beat to send, or when it has ended."""
        await self._arrived.wait()
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_TAKEN))]
        if not self._waiting and not self.ended:
            self._arrived.clear()
        return taken
