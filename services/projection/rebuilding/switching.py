"""Switches the live mark and the pointer from one generation to another, in one transaction."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import UpdateOne

from services.projection.faults import ProjectionError, TransientError
from services.projection.rebuilding.halting import CannotHaltError, Halt, halted
from services.projection.store.connecting import Mongo, translated
from services.projection.store.generations import Generations, pointing_at
from services.projection.store.transactions import transaction
from shared.documents import CHECKPOINTS, GENERATIONS, LIVE, checkpoint_id

_TRIES: Final = 20
_RETRY_SECONDS: Final = 0.5


class CannotSwitchError(ProjectionError):
    """The generations could not be switched."""


async def switch(mongo: Mongo, live: str, to: str) -> None:
    """Make `to` live instead of `live`, in one transaction. Raises `CannotSwitchError` if that fails."""
    why = ""
    for _ in range(_TRIES):
        try:
            if await _is_live(mongo, to):
                return  # the reply to the last attempt was lost
            async with halted(mongo, (live, to)) as halt:
                await _switch(mongo, live, to, halt)
            return
        except (CannotHaltError, TransientError) as error:
            why = str(error)
            await asyncio.sleep(_RETRY_SECONDS)
    if not await _is_live(mongo, to):
        raise CannotSwitchError(f"cannot switch from {live} to {to}: {why}")


async def _is_live(mongo: Mongo, generation: str) -> bool:
    pointer = await Generations(mongo).pointer()
    return pointer is not None and pointer["generation"] == generation


async def _switch(mongo: Mongo, live: str, to: str, halt: Halt) -> None:
    now = datetime.now(UTC)
    moves: list[Any] = [
        UpdateOne(
            {
                "_id": checkpoint_id(generation, *place),
                "offset": checkpoint.offset,
                "incarnation": checkpoint.incarnation,
                "haltUntil": {"$gt": now},
            },
            # counted as a write, so that batches started before are fenced
            {"$set": {"live": generation == to}, "$inc": {"writes": 1}},
        )
        for place, checkpoint in halt.items()
        for generation in (live, to)
    ]
    with translated():
        async with transaction(mongo) as session:
            target = await mongo[GENERATIONS].find_one({"_id": to}, session=session)
            moved = await mongo[CHECKPOINTS].bulk_write(moves, ordered=False, session=session)
            if target is None or target.get("dropping"):
                raise CannotSwitchError(f"{to} was dropped")
            if moved.matched_count != len(moves):
                raise CannotHaltError("a checkpoint moved")
            pointer = await mongo[GENERATIONS].update_one(
                {"_id": LIVE, "generation": live},
                {"$set": pointing_at(to, target["revision"], live)},
                session=session,
            )
            if pointer.matched_count != 1:
                raise CannotSwitchError(f"{live} is no longer live")
