"""Brings two generations to a halt at one offset per partition, for a moment."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import UpdateOne

from services.projection.faults import ProjectionError
from services.projection.store.checkpoints import Checkpoint, Checkpoints, Passed, Place
from services.projection.store.connecting import Mongo, translated
from shared.documents import CHECKPOINTS

_LONGEST_SECONDS: Final = 10.0
"""A halt ends by itself after this, should nobody be left to end it."""
_LOOK_SECONDS: Final = 0.02


class CannotHaltError(ProjectionError):
    """The generations did not come to stand at the same offsets in time."""


Halt = Mapping[Place, Checkpoint]
"""Where both generations stand."""


@asynccontextmanager
async def halted(mongo: Mongo, generations: tuple[str, str]) -> AsyncIterator[Halt]:
    """While entered both stand still at the same offsets; `CannotHaltError` when they don't get there."""
    try:
        await _ask(mongo, generations)
        yield await _standing(mongo, generations)
    finally:
        await _release(mongo, generations)


async def _ask(mongo: Mongo, generations: tuple[str, str]) -> None:
    """Halt each partition where it stands, then let the one of the two that is behind catch up.

    One document at a time: a transaction over all of them would meet each batch that is being written.
    """
    until = datetime.now(UTC) + timedelta(seconds=_LONGEST_SECONDS)
    wanted = {"generation": {"$in": list(generations)}}
    here = [{"$set": {"haltAt": "$offset", "haltUntil": until}}]
    with translated():
        await mongo[CHECKPOINTS].update_many(wanted, here)
        rows = await mongo[CHECKPOINTS].find(wanted).to_list(None)
        furthest: dict[Place, int] = {}
        for row in rows:
            place = row["topic"], row["partition"]
            furthest[place] = max(furthest.get(place, -1), row["offset"])
        further: list[Any] = [
            UpdateOne({"_id": row["_id"]}, {"$set": {"haltAt": furthest[row["topic"], row["partition"]]}})
            for row in rows
        ]
        await mongo[CHECKPOINTS].bulk_write(further, ordered=False)


async def _standing(mongo: Mongo, generations: tuple[str, str]) -> Halt:
    """Wait until both stand at the same record of each partition."""
    deadline = time.monotonic() + _LONGEST_SECONDS / 2
    while time.monotonic() < deadline:
        first, second = [await Checkpoints(mongo, generation).all() for generation in generations]
        if first.keys() == second.keys() and all(
            _passed(checkpoint) == _passed(second[place]) for place, checkpoint in first.items()
        ):
            return first
        await asyncio.sleep(_LOOK_SECONDS)
    raise CannotHaltError("the generations did not come to stand at the same offsets")


def _passed(checkpoint: Checkpoint) -> Passed:
    return Passed(checkpoint.incarnation, checkpoint.offset, checkpoint.digest)


async def _release(mongo: Mongo, generations: tuple[str, str]) -> None:
    ours = {"generation": {"$in": list(generations)}}
    with translated():
        await mongo[CHECKPOINTS].update_many(ours, {"$unset": {"haltAt": "", "haltUntil": ""}})
