"""The documents in MongoDB: written by the projection, read by the query service.

A read model's collection is named `<read model>__<generation>` (`collection`). Times are BSON dates (UTC,
whole milliseconds), amounts are integers in minor units. Names and addresses of customers stand in
`customers` only, so that one document changes when they do, and none of another collection can keep an old
one; readers join it.

| read model | `_id` | fields |
|---|---|---|
| `orders` | orderId | customerId, items [{productId, productName, quantity, price}], total, status, createdAt, updatedAt, version, and once they exist shippedAt, trackingNumber, cancelledAt, cancellationReason |
| `order_history` | orderId:version | orderId, customerId, version, type, occurredAt, actor, traceparent, data (as on the wire), order (the `orders` document as of this version), receivedAt, committedAt, publishedAt, topic, partition, offset, projectedAt |
| `customers` | customerId | name, email (null when not readable), version, erased |
| `customer_summaries` | customerId\\|partition | customerId, orderCount, pendingCount, shippedCount, cancelledCount, lifetimeValue, lastOrderAt; add up the parts |
| `products` | productId | name, price, available, version |
| `product_sales` | productId\\|partition | productId, unitsSold; add up the parts |
| `daily_sales` | date\\|partition | date (YYYY-MM-DD), orderCount, cancelledCount, revenue; add up the parts |

`order_history` and `feed` are clustered collections: read them by one `_id` or a range of `_id`, never by
`$in`, for which the server (6.0) reads all of them.

Outside the generations:

| collection | `_id` | fields |
|---|---|---|
| `generations` | `live` | generation, previous (or null), readModels {read model: generation}, revision, switchedAt |
| | generation | revision, createdAt, of the generations that are kept; dropping (true), of one that is being dropped |
| `checkpoints` | generation\\|topic\\|partition | generation, topic, partition, incarnation, offset (of the last record passed, -1 none), digest, live, eventAt, updatedAt, and while a switch is prepared haltAt, haltUntil |
| `feed` | orderId:version | orderId, customerId, type, version, traceparent, trace (that of its projection, if somebody traces), order (as of that version), at; kept for a day |
| `heartbeats` | shards\\|shard\\|t in ms | shards, shard, t, endOffsets {topic: [per partition]}, incarnations {topic: id}, at; kept for an hour |
| `parked` | generation\\|topic/subject | generation, topic, partition, subject, firstVersion, lastVersion, reason, hole, at |
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
    # pages of orders, newest first, by each filter: a page costs what it shows
    "orders": (
        {"createdAt": -1, "_id": -1},
        {"customerId": 1, "createdAt": -1, "_id": -1},
        {"status": 1, "createdAt": -1, "_id": -1},
        {"customerId": 1, "status": 1, "createdAt": -1, "_id": -1},
    ),
    # the other parts and the history are read by ranges of `_id` (`parts_of`, `versions_of`)
    "product_sales": ({"productId": 1},),
}
"""What the query service reads by besides `_id`; the projection makes them with each generation."""

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
    """The range of `_id` in which all events of an order stand."""
    return {"$gte": f"{order_id}:", "$lt": f"{order_id};"}


def parts_of(first: str, last: str | None = None) -> Mapping[str, str]:
    """The range of `_id` in which all parts of a key stand, or of all keys from `first` to `last`."""
    # the character behind the separator; no key holds it
    return {"$gte": f"{first}|", "$lt": f"{first if last is None else last}}}"}


def parked_id(generation: str, topic: str, subject: str) -> str:
    """The `_id` of the mark of a stream whose events went to the dead letters."""
    return f"{generation}|{topic}/{subject}"
