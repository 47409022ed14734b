"""Orders after their last event."""

from typing import assert_never

from services.projection.read_models.incoming import Document, Incoming, UnusableEventError
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped


def apply(order: Document | None, incoming: Incoming[OrderEvent]) -> Document:
    """The order after the event."""
    match incoming.event:
        case OrderCreated():
            if order is not None:
                raise UnusableEventError("the order was already created")
            return _created(incoming, incoming.event)
        case OrderShipped(tracking_number=tracking_number):
            shipped = {"shippedAt": incoming.occurred_at, "trackingNumber": tracking_number}
            return _changed(order, incoming, "shipped") | shipped
        case OrderCancelled(reason=reason):
            cancelled = {"cancelledAt": incoming.occurred_at, "cancellationReason": reason}
            return _changed(order, incoming, "cancelled") | cancelled
        case other:
            assert_never(other)


def _created(incoming: Incoming[OrderEvent], event: OrderCreated) -> Document:
    return {
        "_id": incoming.subject,
        "customerId": event.customer_id,
        "items": [
            {
                "productId": item.product_id,
                "productName": item.product_name,
                "quantity": item.quantity,
                "price": int(item.price),
            }
            for item in event.items
        ],
        "total": int(event.total),
        "status": "pending",
        "createdAt": incoming.occurred_at,
        "updatedAt": incoming.occurred_at,
        "version": incoming.version,
    }


def _changed(order: Document | None, incoming: Incoming[OrderEvent], status: str) -> Document:
    if order is None:
        raise UnusableEventError("the order was never created")
    return {**order, "status": status, "updatedAt": incoming.occurred_at, "version": incoming.version}
