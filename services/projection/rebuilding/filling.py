"""Fills a generation until it has caught up with the live one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from services.projection.faults import ProjectionError
from services.projection.store.checkpoints import Checkpoints
from services.projection.store.generations import Generations
from services.projection.wiring import Parts

_LOOK_SECONDS: Final = 0.2
CLOSE: Final = 500
"""So many events behind the live generation is close enough to be halted together."""


class DroppedError(ProjectionError):
    """Somebody dropped the generation that is being filled."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Records passed, and all there are."""

    passed: int
    total: int

    @property
    def left(self) -> int:
        """Records still to be passed."""
        return max(0, self.total - self.passed)


async def progress(parts: Parts, generation: str, live: str) -> AsyncIterator[Progress]:
    """How far it is, again and again, until it is close behind the live one; `DroppedError`."""
    while True:
        if not await Generations(parts.mongo).keeps(generation):
            raise DroppedError(f"generation {generation} was dropped meanwhile")
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
        await asyncio.sleep(_LOOK_SECONDS)
