"""The messages that streams send, with the customer's name at the time of sending."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import orjson

from services.query.documents.errors import DocumentsUnavailableError
from services.query.documents.feed import FeedEvent
from services.query.documents.names import Names
from services.query.documents.shapes import Customer
from services.query.live.cursors import cursor_of
from services.query.representations import order_json

_RETRY_SECONDS: Final = 0.5
_log = logging.getLogger(__name__)


class Message:
    """One order event as it is sent; shared by all streams that send it."""

    def __init__(self, event: FeedEvent) -> None:
        self.event: Final = event
        self._cursor: str | None = None
        self._customer: Customer | None = None
        self._json: bytes | None = None

    @property
    def cursor(self) -> str:
        """Where to resume after it."""
        if self._cursor is None:
            self._cursor = cursor_of(self.event.position)
        return self._cursor

    def json(self, customer: Customer | None) -> bytes:
        """The message with that name and email address."""
        if self._json is None or customer != self._customer:
            self._customer = customer
            self._json = orjson.dumps(
                {
                    "id": self.cursor,
                    "type": self.event.type,
                    "traceparent": self.event.traceparent,
                    "order": order_json(self.event.order(customer)),
                }
            )
        return self._json


class Namer:
    """Joins messages with their customers' current names."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def named(self, messages: Sequence[Message]) -> Sequence[bytes]:
        """The messages' JSON; waits while the names cannot be read."""
        ids = list({message.event.customer_id: None for message in messages})
        while True:
            try:
                customers = await self._names.of(ids)
            except DocumentsUnavailableError:
                _log.debug("messages wait for customers' names")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return [message.json(customers.get(message.event.customer_id)) for message in messages]
