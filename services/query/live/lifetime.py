"""Ends a stream when its reader leaves or is too slow, its token expires, or the store or service is gone."""

import asyncio
import time
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any

from services.query.documents.errors import DocumentsError
from services.query.live.streams import LiveStream
from services.query.live.subscription import TooSlowError
from shared.auth import Principal
from shared.auth.tokens import SKEW_SECONDS


class Over(Enum):
    """Why a stream ends."""

    READER_GONE = auto()
    TOKEN_EXPIRED = auto()
    TOO_SLOW = auto()
    STORE_UNAVAILABLE = auto()
    STOPPING = auto()


async def lasting(
    stream: LiveStream, caller: Principal, sending: Coroutine[Any, Any, None], gone: Coroutine[Any, Any, None]
) -> Over:
    """Send until something ends the stream, and return why. Other errors from `sending` are raised."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[Over] = loop.create_future()

    def end(why: Over) -> None:
        if not over.done():
            over.set_result(why)

    sender = asyncio.create_task(sending, name="live sender")
    reader = asyncio.create_task(gone, name="live reader")
    sender.add_done_callback(lambda done: end(_why_sent_no_more(done)))
    reader.add_done_callback(lambda _: end(Over.READER_GONE))
    stream.on_too_slow = lambda: end(Over.TOO_SLOW)
    stream.on_stop = lambda: end(Over.STOPPING)
    expiry = loop.call_later(_seconds_left(caller), end, Over.TOKEN_EXPIRED)
    try:
        why = await over
    finally:
        expiry.cancel()
        reader.cancel()
        sender.cancel()
        await asyncio.wait([reader, sender])
    if not sender.cancelled():
        error = sender.exception()
        if error is not None and not isinstance(error, DocumentsError | OSError | TooSlowError):
            raise error
    return why


def _why_sent_no_more(sender: asyncio.Task[None]) -> Over:
    failed = None if sender.cancelled() else sender.exception()
    return Over.TOO_SLOW if isinstance(failed, TooSlowError) else Over.STORE_UNAVAILABLE


def _seconds_left(caller: Principal) -> float:
    left = caller.expires_at - time.time()
    # accepted although it has expired: the clocks differ
    return left if left > 0 else left + SKEW_SECONDS
