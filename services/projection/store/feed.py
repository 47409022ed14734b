"""What the feed holds already, whichever generation was live then."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.projection.folding.topic_projection import Encoded
from services.projection.store.connecting import Mongo, translated
from shared.documents import FEED, versions_of

_AT_ONCE: Final = 32


async def untold(mongo: Mongo, feed: Sequence[Encoded]) -> list[Encoded]:
    """Those of the entries that it does not hold."""
    orders = list({news["orderId"] for news in feed})
    told: set[str] = set()
    for start in range(0, len(orders), _AT_ONCE):
        # a range for each order: for many ids at once the server reads the whole feed
        some = orders[start : start + _AT_ONCE]
        told.update(*await asyncio.gather(*(_told(mongo, order_id) for order_id in some)))
    return [news for news in feed if news["_id"] not in told]


async def _told(mongo: Mongo, order_id: str) -> list[str]:
    with translated():
        rows = await mongo[FEED].find({"_id": versions_of(order_id)}, {"_id": 1}).to_list(None)
    return [row["_id"] for row in rows]
