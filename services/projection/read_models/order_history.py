"""Orders' events, each with the order right after it: history, timeline and time travel."""

from datetime import datetime
from typing import Any

from services.projection.read_models.incoming import Document, Incoming
from shared.documents import version_id
from shared.events import OrderEvent


def entry(incoming: Incoming[OrderEvent], customer_id: str, order: Any, projected_at: datetime) -> Document:
    """The history's entry of an event; `order` is the order's document after it, in any encoding."""
    return {
        "_id": version_id(incoming.subject, incoming.version),
        "orderId": incoming.subject,
        "customerId": customer_id,
        "version": incoming.version,
        "type": incoming.type,
        "occurredAt": incoming.occurred_at,
        "actor": incoming.actor,
        "traceparent": incoming.traceparent,
        "data": incoming.data,
        "order": order,
        "receivedAt": incoming.received_at,
        "committedAt": incoming.committed_at,
        "publishedAt": incoming.published_at,
        "topic": incoming.topic,
        "partition": incoming.partition,
        "offset": incoming.offset,
        "projectedAt": projected_at,
    }


def feed_entry(incoming: Incoming[OrderEvent], customer_id: str, order: Any, at: datetime) -> Document:
    """An event's entry in the feed of live updates, with a `trace` only when tracing is on."""
    traced = {} if incoming.trace is None else {"trace": incoming.trace}
    return traced | {
        "_id": version_id(incoming.subject, incoming.version),
        "orderId": incoming.subject,
        "customerId": customer_id,
        "type": incoming.type,
        "version": incoming.version,
        "traceparent": incoming.traceparent,
        "order": order,
        "at": at,
    }
