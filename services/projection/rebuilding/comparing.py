"""Compares two generations document by document, at the same offsets.

Both are halted briefly while a snapshot is taken. The documents are then read from that snapshot, while both
resume. https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/

The offset of an event's record, and when it was published and projected, are not compared: re-created and
republished topics hold the same events at other offsets, and would hide the real differences.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.read_concern import ReadConcern

from services.projection.rebuilding.halting import halted
from services.projection.store.connecting import Mongo, translated
from shared.documents import GENERATIONS, ORDER_HISTORY, ReadModel, collection

_VOLATILE: Final[Mapping[str, tuple[str, ...]]] = {ORDER_HISTORY: ("publishedAt", "offset", "projectedAt")}
"""Fields about an event's transport, not its content. The partition follows from the key."""
_BATCH: Final = 2000
_RAW: Final = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Difference:
    """A document that differs between the two; a hash is None if there is no document."""

    read_model: ReadModel
    id: str
    live: str | None
    new: str | None
    fields: tuple[str, ...]

    def __str__(self) -> str:
        if self.live is None:
            what = "is new"
        elif self.new is None:
            what = "is missing"
        else:
            what = f"differs in {', '.join(self.fields)} ({self.live} is now {self.new})"
        return f"{self.read_model} {self.id} {what}"


async def differences(
    mongo: Mongo, live: str, new: str, read_model: ReadModel
) -> AsyncIterator[Difference | None]:
    """Compare a read model; yields None for each document that is the same.

    Raises `CannotHaltError` and `TransientError`.
    """
    with translated():
        async with await mongo.client.start_session(snapshot=True) as session:
            async with halted(mongo, (live, new)):
                # the session's first read fixes the snapshot for all its reads
                await (
                    mongo[GENERATIONS].with_options(read_concern=ReadConcern()).find_one({}, session=session)
                )
            first = _batches(mongo, session, collection(read_model, live), read_model)
            second = _batches(mongo, session, collection(read_model, new), read_model)
            left, right = await _both(first, second)
            while left is not None and left == right:
                for _ in range(_count(left)):
                    yield None
                left, right = await _both(first, second)
            # from the first batches that differ, document by document
            async for one, other in _paired(_documents(left, first), _documents(right, second)):
                yield _compare(read_model, one, other)


def _batches(
    mongo: Mongo, session: AsyncIOMotorClientSession, name: str, read_model: ReadModel
) -> AsyncIterator[bytes]:
    """The documents in order of their ids, as concatenated BSON, in the server's batches."""
    hidden = dict.fromkeys(_VOLATILE.get(read_model, ()), 0)
    raw: Any = mongo[name].with_options(read_concern=ReadConcern())
    found: AsyncIterator[bytes] = raw.find_raw_batches(
        {}, hidden or None, session=session, batch_size=_BATCH
    ).sort("_id", 1)
    return found


async def _both(
    first: AsyncIterator[bytes], second: AsyncIterator[bytes]
) -> tuple[bytes | None, bytes | None]:
    # sequentially: a session cannot be used concurrently
    return await anext(first, None), await anext(second, None)


def _count(batch: bytes) -> int:
    """The number of documents in a batch: each starts with its length (https://bsonspec.org/spec.html)."""
    count = place = 0
    while place < len(batch):
        place += int.from_bytes(batch[place : place + 4], "little")
        count += 1
    return count


async def _documents(batch: bytes | None, rest: AsyncIterator[bytes]) -> AsyncIterator[RawBSONDocument]:
    while batch is not None:
        for document in bson.decode_all(batch, _RAW):
            yield document
        batch = await anext(rest, None)


async def _paired(
    first: AsyncIterator[RawBSONDocument], second: AsyncIterator[RawBSONDocument]
) -> AsyncIterator[tuple[RawBSONDocument | None, RawBSONDocument | None]]:
    """Pair the documents of both by id; both are sorted by it."""
    left, right = await anext(first, None), await anext(second, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left["_id"] < right["_id"]):
            yield left, None
            left = await anext(first, None)
        elif left is None or right["_id"] < left["_id"]:
            yield None, right
            right = await anext(second, None)
        else:
            yield left, right
            left, right = await anext(first, None), await anext(second, None)


def _compare(
    read_model: ReadModel, left: RawBSONDocument | None, right: RawBSONDocument | None
) -> Difference | None:
    if left is not None and right is not None and left.raw == right.raw:
        return None
    before, after = _canonical(left), _canonical(right)
    if before == after:
        return None
    found = left if left is not None else right
    assert found is not None
    fields = tuple(_differing(before or {}, after or {}))
    return Difference(read_model, str(found["_id"]), _hash(before), _hash(after), fields)


def _canonical(document: Any) -> Any:
    """The same value for the same content, regardless of the order of fields."""
    if document is None:
        return None
    if isinstance(document, RawBSONDocument):
        return _canonical(bson.decode(document.raw))
    if isinstance(document, dict):
        return {name: _canonical(document[name]) for name in sorted(document)}
    if isinstance(document, list):
        return [_canonical(each) for each in document]
    return document


def _hash(canonical: Any) -> str | None:
    if canonical is None:
        return None
    return blake2b(bson.encode(canonical), digest_size=6).hexdigest()


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield name
