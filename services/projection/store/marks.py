"""The marks of parked streams, written in the checkpoint's transaction."""

from collections.abc import Iterable
from datetime import UTC, datetime

from services.projection.folding.parking import Parked
from services.projection.store.checkpoints import Place
from services.projection.store.connecting import Mongo, Row, translated
from services.projection.store.transactions import Transaction
from shared.documents import PARKED, parked_id


async def load(mongo: Mongo, generation: str, place: Place) -> dict[str, Parked]:
    """The partition's marks by subject, including those of streams that have resumed."""
    topic, partition = place
    wanted = {"generation": generation, "topic": topic, "partition": partition}
    with translated():
        rows = await mongo[PARKED].find(wanted).to_list(None)
    return {row["subject"]: mark_of(row) for row in rows}


async def parked(mongo: Mongo, generation: str) -> list[Row]:
    """The documents of the currently parked streams."""
    with translated():
        return await mongo[PARKED].find({"generation": generation, "open": True}).to_list(None)


def save(
    transaction: Transaction,
    generation: str,
    place: Place,
    marks: Iterable[Parked],
) -> None:
    """Write marks in the transaction; closed marks with nothing to remember are deleted."""
    topic, partition = place
    for mark in marks:
        key = {"_id": parked_id(generation, topic, mark.subject)}
        if not mark.open and not mark.unreadable:
            transaction[PARKED].delete_one(key, session=transaction.session)
            continue
        row: Row = {
            "generation": generation,
            "topic": topic,
            "partition": partition,
            "subject": mark.subject,
            "firstVersion": mark.first_version,
            "lastVersion": mark.last_version,
            "reason": mark.reason,
            "hole": mark.hole,
            "unreadable": list(mark.unreadable),
            "open": mark.open,
            "at": datetime.now(UTC),
        }
        transaction[PARKED].replace_one(key, row, upsert=True, session=transaction.session)


def mark_of(row: Row) -> Parked:
    """From a document of `parked`."""
    return Parked(
        subject=row["subject"],
        first_version=row["firstVersion"],
        last_version=row["lastVersion"],
        reason=row["reason"],
        hole=row["hole"],
        unreadable=tuple(row["unreadable"]),
        open=row["open"],
    )
