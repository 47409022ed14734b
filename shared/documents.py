"""The documents in MongoDB: written by the projection, read by the query service.

A read model's collection is named `<read model>__<generation>` (`collection`). Times are BSON dates (UTC,
whole milliseconds), amounts are integers in minor units. Customers' names and email addresses
are stored in `customers` only, so that a change to them changes one document and no other collection can keep
old ones; readers join it.

| read model | `_id` | fields |
|---|---|---|
| `orders` | orderId | customerId, items [{productId, productName, quantity, price}], total, status, createdAt, updatedAt, version; once they exist: shippedAt, trackingNumber, cancelledAt, cancellationReason |
| `order_history` | orderId:version | orderId, customerId, version, type, occurredAt, actor, traceparent, data (as on the wire), order (the `orders` document as of this version), receivedAt, committedAt, publishedAt, topic, partition, offset, projectedAt |
| `customers` | customerId | name, email (null when not readable), version, erased |
| `customer_summaries` | customerId\\|partition | customerId, orderCount, pendingCount, shippedCount, cancelledCount, lifetimeValue, lastOrderAt; add up the parts |
| `products` | productId | name, price, available, version |
| `product_sales` | productId\\|partition | productId, unitsSold; add up the parts |
| `daily_sales` | date\\|partition | date (YYYY-MM-DD), orderCount, cancelledCount, revenue; add up the parts |

`order_history` and `feed` are clustered collections: read them by one `_id` or a range of `_id`, never by
`$in`, for which the server (6.0) scans the whole collection.

Outside the generations:

| collection | `_id` | fields |
|---|---|---|
| `generations` | `live` | the pointer: generation, previous (or null), readModels {read model: generation}, revision, switchedAt; touched, once it exists (a counter that is incremented when checkpoints are added, so that this conflicts with a switch); numbers, once one was dropped {revision: the highest number dropped, never used again} |
| | generation | one per generation: revision, number (counts up from 1 within a revision), createdAt; touched as in the pointer; dropping (true) while it is being dropped |
| `checkpoints` | generation\\|topic\\|partition | generation, topic, partition, incarnation, offset (of the last record passed, -1 none), digest (of that record), writes (the fence: a writer updates only the count it read, and increments it), live, updatedAt; eventAt (of the last record passed with a time), once it exists; haltAt, haltUntil while a comparison or a switch halts it |
| `feed` | orderId:version | orderId, customerId, type, version, traceparent, trace (that of its projection, if traced), order (as of that version), at; kept for a day |
| `heartbeats` | shards\\|shard\\|t in ms | shards, shard, t, endOffsets {topic: [per partition]}, incarnations {topic: id}, at; kept for an hour |
| `parked` | generation\\|topic/subject | generation, topic, partition, subject, firstVersion, lastVersion, reason, hole, unreadable [digests of the records parked without a known version], open, at; filter on `open: true` for the streams parked now: the others are kept for `unreadable` only |
"""  # noqa: E501 - rows of a table

from collections.abc import Mapping, Sequence
from typing import Final, Literal

ReadModel = Literal[
    "orders",
    "order_history",
    "customers",
    "customer_summaries",
    "products",
    "product_sales",
    "daily_sales",
]

ORDERS: Final = "orders"
ORDER_HISTORY: Final = "order_history"
CUSTOMERS: Final = "customers"
CUSTOMER_SUMMARIES: Final = "customer_summaries"
PRODUCTS: Final = "products"
PRODUCT_SALES: Final = "product_sales"
DAILY_SALES: Final = "daily_sales"
READ_MODELS: Final[tuple[ReadModel, ...]] = (
    "orders",
    "order_history",
    "customers",
    "customer_summaries",
    "products",
    "product_sales",
    "daily_sales",
)

INDEXES: Final[Mapping[ReadModel, Sequence[Mapping[str, int]]]] = {
    # pages of orders, newest first, for each filter: a page reads only what it shows
    "orders": (
        {"createdAt": -1, "_id": -1},
        {"customerId": 1, "createdAt": -1, "_id": -1},
        {"status": 1, "createdAt": -1, "_id": -1},
        {"customerId": 1, "status": 1, "createdAt": -1, "_id": -1},
    ),
    # the other parts and the history are read by ranges of `_id` (`parts_of`, `versions_of`)
    "product_sales": ({"productId": 1},),
}
"""The indexes the query service needs besides `_id`; the projection creates them with each generation."""

GENERATIONS: Final = "generations"
LIVE: Final = "live"
"""The `_id` of the pointer in `generations`."""
CHECKPOINTS: Final = "checkpoints"
FEED: Final = "feed"
HEARTBEATS: Final = "heartbeats"
PARKED: Final = "parked"

FEED_SECONDS: Final = 86_400
HEARTBEATS_SECONDS: Final = 3_600


def collection(read_model: str, generation: str) -> str:
    """The name of a read model's collection in a generation."""
    return f"{read_model}__{generation}"


def checkpoint_id(generation: str, topic: str, partition: int) -> str:
    """The `_id` of a partition's checkpoint."""
    return f"{generation}|{topic}|{partition}"


def version_id(order_id: str, version: int) -> str:
    """The `_id` of one event of an order, in its history and in the feed."""
    return f"{order_id}:{version}"


def part_id(key: str, partition: int) -> str:
    """The `_id` of the part that one partition adds to a count."""
    return f"{key}|{partition}"


def versions_of(order_id: str) -> Mapping[str, str]:
    """The range of `_id` of all events of an order."""
    return {"$gte": f"{order_id}:", "$lt": f"{order_id};"}


def parts_of(first: str, last: str | None = None) -> Mapping[str, str]:
    """The range of `_id` of all parts of a key, or of all keys from `first` to `last`."""
    # `}` is the character after the separator `|`; no key contains it
    return {"$gte": f"{first}|", "$lt": f"{first if last is None else last}}}"}


def parked_id(generation: str, topic: str, subject: str) -> str:
    """The `_id` of the mark of a stream whose events went to the dead letters."""
    return f"{generation}|{topic}/{subject}"
