"""Folds the topic `orders`, which feeds five read models and the feed."""

from datetime import datetime
from typing import Final

import bson
from bson.raw_bson import RawBSONDocument

from services.projection.folding.topic_projection import Documents, Encoded, Writes
from services.projection.read_models import (
    customer_summaries,
    daily_sales,
    order_history,
    orders,
    product_sales,
)
from services.projection.read_models.additions import Additions
from services.projection.read_models.incoming import Document, Incoming
from shared.documents import CUSTOMER_SUMMARIES, DAILY_SALES, ORDER_HISTORY, ORDERS, PRODUCT_SALES
from shared.events import OrderCreated, OrderEvent

_LARGEST: Final = 2**53
"""The sum of a thousand amounts below it still fits into 64 bits."""


def _fits(event: OrderCreated) -> None:
    if event.total >= _LARGEST or max([item.quantity for item in event.items], default=0) >= _LARGEST:
        raise OverflowError("an amount is too large")


class OrdersProjection:
    """Encodes each version of an order once, and shares it between document, history and feed."""

    def __init__(self, stored: Documents, at: datetime, *, live: bool) -> None:
        self._orders: dict[str, Document] = dict(stored)
        self._stored = stored
        self._at = at
        self._live = live
        self._encoded: dict[str, RawBSONDocument] = {}
        self._history: list[Encoded] = []
        self._feed: list[Encoded] = []
        self._summaries = Additions()
        self._sales = Additions()
        self._days = Additions()

    def version_of(self, subject: str) -> int:
        """The version of the order's document; 0 if there is none."""
        order = self._orders.get(subject)
        return 0 if order is None else order["version"]

    def apply(self, incoming: Incoming[OrderEvent]) -> None:
        """Apply the order's next event."""
        order = orders.apply(self._orders.get(incoming.subject), incoming)
        if isinstance(incoming.event, OrderCreated):
            _fits(incoming.event)
        # an event that cannot be encoded fails by itself here, and not with its batch when written
        encoded = RawBSONDocument(bson.encode(order))
        customer = order["customerId"]
        history = bson.encode(order_history.entry(incoming, customer, encoded, self._at))
        self._orders[incoming.subject] = order
        self._encoded[incoming.subject] = encoded
        self._history.append(RawBSONDocument(history))
        if self._live:
            self._feed.append(order_history.feed_entry(incoming, customer, encoded, self._at))
        customer_summaries.add(self._summaries, incoming.event, order)
        product_sales.add(self._sales, incoming.event, order)
        daily_sales.add(self._days, incoming.event, order)

    def writes(self) -> Writes:
        """All changes."""
        new: list[Encoded] = [
            document for subject, document in self._encoded.items() if subject not in self._stored
        ]
        changed: dict[str, Encoded] = {
            subject: document for subject, document in self._encoded.items() if subject in self._stored
        }
        return Writes(
            inserted={ORDERS: new, ORDER_HISTORY: self._history},
            replaced={ORDERS: changed},
            added={CUSTOMER_SUMMARIES: self._summaries, PRODUCT_SALES: self._sales, DAILY_SALES: self._days},
            feed=self._feed,
        )
