"""The JSON that callers see: camelCase, RFC 3339 times in UTC, amounts as decimal strings."""

from datetime import datetime
from typing import Any

from services.query.documents.shapes import CustomerSummary, DailySales, HistoryEntry, Order, Product
from shared.times import rfc3339

Json = dict[str, Any]


def order_json(order: Order) -> Json:
    """The contract's order document."""
    fields: Json = {
        "id": order.id,
        "customerId": order.customer_id,
        "customerName": order.customer_name,
        "customerEmail": order.customer_email,
        "items": [
            {
                "productId": item.product_id,
                "productName": item.product_name,
                "quantity": item.quantity,
                "price": str(item.price),
            }
            for item in order.items
        ],
        "total": str(order.total),
        "status": order.status,
        "createdAt": rfc3339(order.created_at),
        "updatedAt": rfc3339(order.updated_at),
        "version": order.version,
    }
    if order.shipped_at is not None:
        fields["shippedAt"] = rfc3339(order.shipped_at)
    if order.tracking_number is not None:
        fields["trackingNumber"] = order.tracking_number
    if order.cancelled_at is not None:
        fields["cancelledAt"] = rfc3339(order.cancelled_at)
    if order.cancellation_reason is not None:
        fields["cancellationReason"] = order.cancellation_reason
    return fields


def history_json(entry: HistoryEntry) -> Json:
    """One entry of an order's history."""
    return {
        "version": entry.version,
        "type": entry.type,
        "occurredAt": rfc3339(entry.occurred_at),
        "actor": entry.actor,
        "traceparent": entry.traceparent,
        "data": entry.data,
    }


def timeline_json(entry: HistoryEntry) -> Json:
    """One event's path through the system. `hopsMs` are whole milliseconds, at least 0 (clocks differ)."""
    return {
        "version": entry.version,
        "type": entry.type,
        "receivedAt": rfc3339(entry.received_at),
        "committedAt": rfc3339(entry.committed_at),
        "publishedAt": rfc3339(entry.published_at),
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "projectedAt": rfc3339(entry.projected_at),
        "traceparent": entry.traceparent,
        "hopsMs": {
            "commit": _ms(entry.received_at, entry.committed_at),
            "publish": _ms(entry.committed_at, entry.published_at),
            "project": _ms(entry.published_at, entry.projected_at),
        },
    }


def _ms(begin: datetime, end: datetime) -> int:
    return max(0, round((end - begin).total_seconds() * 1000))


def summary_json(summary: CustomerSummary) -> Json:
    """A customer's summary."""
    last = summary.last_order_at
    return {
        "customerId": summary.customer_id,
        "name": summary.name,
        "email": summary.email,
        "orderCount": summary.order_count,
        "pendingCount": summary.pending_count,
        "shippedCount": summary.shipped_count,
        "cancelledCount": summary.cancelled_count,
        "lifetimeValue": str(summary.lifetime_value),
        "lastOrderAt": None if last is None else rfc3339(last),
        "version": summary.version,
    }


def product_json(product: Product) -> Json:
    """A product."""
    return {
        "productId": product.product_id,
        "name": product.name,
        "price": None if product.price is None else str(product.price),
        "available": product.available,
        "unitsSold": product.units_sold,
        "version": product.version,
    }


def sales_json(day: DailySales) -> Json:
    """One day of the report."""
    return {
        "date": day.date,
        "orderCount": day.order_count,
        "cancelledCount": day.cancelled_count,
        "revenue": str(day.revenue),
    }
