"""Briefly halts two generations at the same offset of each partition."""

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
"""A halt expires after this, in case its process dies."""
_POLL_SECONDS: Final = 0.02


class CannotHaltError(ProjectionError):
    """The generations did not halt at the same offsets in time."""


Halt = Mapping[Place, Checkpoint]
"""The checkpoints at which both generations are halted."""


@asynccontextmanager
async def halted(mongo: Mongo, generations: tuple[str, str]) -> AsyncIterator[Halt]:
    """Halt both at the same offsets until the context exits. Raises `CannotHaltError` if that fails."""
    try:
        await _request_halt(mongo, generations)
        yield await _aligned(mongo, generations)
    finally:
        await _release(mongo, generations)


async def _request_halt(mongo: Mongo, generations: tuple[str, str]) -> None:
    """Halt each partition at its current offset, then let the one that is behind catch up.

    No transaction: one over all checkpoints would conflict with every batch being written.
    """
    until = datetime.now(UTC) + timedelta(seconds=_LONGEST_SECONDS)
    wanted = {"generation": {"$in": list(generations)}}
    at_current = [{"$set": {"haltAt": "$offset", "haltUntil": until}}]
    with translated():
        await mongo[CHECKPOINTS].update_many(wanted, at_current)
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


async def _aligned(mongo: Mongo, generations: tuple[str, str]) -> Halt:
    """Wait until both have passed the same record of each partition."""
    deadline = time.monotonic() + _LONGEST_SECONDS / 2
    while time.monotonic() < deadline:
        first, second = [await Checkpoints(mongo, generation).all() for generation in generations]
        if first.keys() == second.keys() and all(
            _passed(checkpoint) == _passed(second[place]) for place, checkpoint in first.items()
        ):
            return first
        await asyncio.sleep(_POLL_SECONDS)
    raise CannotHaltError("the generations did not halt at the same offsets")


def _passed(checkpoint: Checkpoint) -> Passed:
    return Passed(checkpoint.incarnation, checkpoint.offset, checkpoint.digest)


async def _release(mongo: Mongo, generations: tuple[str, str]) -> None:
    wanted = {"generation": {"$in": list(generations)}}
    with translated():
        await mongo[CHECKPOINTS].update_many(wanted, {"$unset": {"haltAt": "", "haltUntil": ""}})
