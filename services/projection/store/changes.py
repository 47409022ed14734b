"""Turns batches' changes into MongoDB commands."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from bson.raw_bson import RawBSONDocument

from services.projection.folding.topic_projection import Encoded, Writes
from services.projection.read_models import customer_summaries, daily_sales, product_sales
from services.projection.read_models.additions import Additions
from services.projection.store.connecting import Row
from services.projection.store.pipelining import Command
from shared.documents import CUSTOMER_SUMMARIES, DAILY_SALES, FEED, PRODUCT_SALES, collection, part_id

_COUNTS: Final = {
    CUSTOMER_SUMMARIES: (customer_summaries.KEY, customer_summaries.AMOUNTS),
    PRODUCT_SALES: (product_sales.KEY, product_sales.AMOUNTS),
    DAILY_SALES: (daily_sales.KEY, daily_sales.AMOUNTS),
}
_MOST: Final = 1000
_MOST_BYTES: Final = 16_000_000
"""Approximate limit per command, which must stay below the server's 48 MB."""
_SMALL: Final = 4000
"""The maximum size of a document, not counting its order."""
T = TypeVar("T", bound=Encoded)


def changes(generation: str, batches: Iterable[tuple[int, Writes]]) -> Iterator[Command]:
    """The commands that write batches, each of one partition, to a generation's documents."""
    inserts: dict[str, list[Encoded]] = defaultdict(list)
    updates: dict[str, list[Row]] = defaultdict(list)
    for partition, writes in batches:
        inserts[FEED] += writes.feed
        for read_model, documents in writes.inserted.items():
            inserts[collection(read_model, generation)] += documents
        for read_model, replaced in writes.replaced.items():
            updates[collection(read_model, generation)] += map(_replacing, replaced.items())
        for read_model, additions in writes.added.items():
            updates[collection(read_model, generation)] += _adding(read_model, additions, partition)
    for name, inserted in inserts.items():
        for part in _parts(inserted):
            yield {"insert": name, "ordered": False, "documents": part}
    for name, updated in updates.items():
        for changed in _parts(updated):
            yield {"update": name, "ordered": False, "updates": changed}


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    largest = max(map(_bytes, whole), default=1)
    count = max(1, min(_MOST, _MOST_BYTES // largest))
    return (whole[start : start + count] for start in range(0, len(whole), count))


def _bytes(written: Encoded) -> int:
    """The approximate size: only parts that are already encoded can be large."""
    if isinstance(written, RawBSONDocument):
        return len(written.raw)
    large = written.get("order" if "order" in written else "u")
    return _SMALL + (len(large.raw) if isinstance(large, RawBSONDocument) else 0)


def _replacing(replaced: tuple[str, Encoded]) -> Row:
    key, document = replaced
    return {"q": {"_id": key}, "u": document, "upsert": True}


def _adding(read_model: str, additions: Additions, partition: int) -> Iterator[Row]:
    name, fields = _COUNTS[read_model]
    for key, sums in additions.sums.items():
        update: Row = {"$setOnInsert": {name: key}, "$inc": dict(zip(fields, sums, strict=True))}
        if (moment := additions.latest.get(key)) is not None:
            update["$max"] = {customer_summaries.LATEST: moment}
        yield {"q": {"_id": part_id(key, partition)}, "u": update, "upsert": True}
