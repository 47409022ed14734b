"""Waits until a generation has caught up with the live one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from services.projection.faults import ProjectionError
from services.projection.store.checkpoints import Checkpoints
from services.projection.store.generations import Generations
from services.projection.wiring import Parts

_POLL_SECONDS: Final = 0.2
CLOSE: Final = 500
"""A generation at most this many records behind the live one can be halted together with it."""


class DroppedError(ProjectionError):
    """The generation was dropped while it was being filled."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Records passed, and how many the live generation has passed."""

    passed: int
    total: int

    @property
    def left(self) -> int:
        """Records not yet passed."""
        return max(0, self.total - self.passed)


async def progress(parts: Parts, generation: str, live: str) -> AsyncIterator[Progress]:
    """Yield the progress repeatedly until the generation is close to the live one. Raises `DroppedError`."""
    while True:
        if not await Generations(parts.mongo).keeps(generation):
            raise DroppedError(f"generation {generation} was dropped")
        ours = await Checkpoints(parts.mongo, generation).all()
        theirs = await Checkpoints(parts.mongo, live).all()
        total = sum(checkpoint.offset + 1 for checkpoint in theirs.values())
        passed = sum(
            min(checkpoint.offset, theirs[place].offset) + 1
            for place, checkpoint in ours.items()
            if place in theirs
        )
        now = Progress(passed, total)
        yield now
        if now.left <= CLOSE:
            return
        await asyncio.sleep(_POLL_SECONDS)
