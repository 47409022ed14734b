"""Finds the entries that the feed already holds, from any generation."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.projection.folding.topic_projection import Encoded
from services.projection.store.connecting import Mongo, translated
from shared.documents import FEED, versions_of

_CONCURRENT: Final = 32


async def missing_from_feed(mongo: Mongo, feed: Sequence[Encoded]) -> list[Encoded]:
    """Those of the entries that the feed does not hold."""
    orders = list({entry["orderId"] for entry in feed})
    held: set[str] = set()
    for start in range(0, len(orders), _CONCURRENT):
        # one range per order: given many ids at once, the server reads the whole feed
        some = orders[start : start + _CONCURRENT]
        held.update(*await asyncio.gather(*(_held(mongo, order_id) for order_id in some)))
    return [entry for entry in feed if entry["_id"] not in held]


async def _held(mongo: Mongo, order_id: str) -> list[str]:
    with translated():
        rows = await mongo[FEED].find({"_id": versions_of(order_id)}, {"_id": 1}).to_list(None)
    return [row["_id"] for row in rows]
