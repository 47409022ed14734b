"""The commands `rebuild` and `rollback`."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from services.projection.faults import TransientError
from services.projection.rebuilding.comparing import differences
from services.projection.rebuilding.filling import progress
from services.projection.rebuilding.halting import CannotHaltError
from services.projection.rebuilding.switching import CannotSwitchError, switch
from services.projection.store.generations import REVISION, Generations
from services.projection.wiring import Parts
from shared.documents import READ_MODELS, ReadModel

_SHOWN: Final = 50
_TRIES: Final = 10
_HANDOVER_SECONDS: Final = 2.0
"""How long this process keeps filling the new live generation, until the service takes over."""
_RETRY_SECONDS: Final = 0.5


async def rebuild(parts: Parts, console: Console, only: ReadModel | None, *, accept: bool) -> int:
    """Fill, compare and switch; return the exit status. With `only`, no other read model may differ."""
    generations = Generations(parts.mongo)
    pointer = await generations.pointer()
    if pointer is None:
        console.print("No generation is live yet. The service creates the first one by itself.")
        return 1
    live: str = pointer["generation"]
    new = await generations.unfinished(live) or await generations.make(await parts.topics.places())
    console.print(f"Generation {live} is live, {new} is being filled.")
    async with parts.consuming(new):
        await _catch_up(parts, console, new, live)
        found = await _compare(parts, console, live, new)
        refused = [name for name in found if not accept or only not in (None, name)]
        if refused:
            console.print(
                f"Generation {new} is kept, and {live} stays live: {', '.join(refused)} would change."
            )
            console.print("`rebuild --accept` switches anyway, `rebuild --discard` drops it.")
            return 1
        try:
            await switch(parts.mongo, live, new)
        except CannotSwitchError as error:
            console.print(f"Not switched: {error}.")
            return 1
        console.print(f"Generation {new} is live; `rollback` switches back to {live}.")
        await generations.drop_all_but(new, live)
        await asyncio.sleep(_HANDOVER_SECONDS)
    return 0


async def discard(parts: Parts, console: Console) -> int:
    """Drop what an unfinished rebuild left behind."""
    generations = Generations(parts.mongo)
    pointer = await generations.pointer()
    unfinished = None if pointer is None else await generations.unfinished(pointer["generation"])
    unwanted = [*await generations.half_dropped(), *filter(None, [unfinished])]
    for generation in unwanted:
        await generations.drop(generation)
        console.print(f"Dropped generation {generation}.")
    if not unwanted:
        console.print("There is no unfinished generation.")
    return 0


async def rollback(parts: Parts, console: Console) -> int:
    """Switch back to the previously live generation; return the exit status."""
    pointer = await Generations(parts.mongo).pointer()
    if pointer is None or pointer["previous"] is None:
        console.print("There is no generation to switch back to.")
        return 1
    live, previous = pointer["generation"], pointer["previous"]
    console.print(f"Generation {live} is live, switching back to {previous}.")
    if previous.split("-")[0] == str(REVISION):
        async with parts.consuming(previous):
            await _catch_up(parts, console, previous, live)
            await switch(parts.mongo, live, previous)
            await asyncio.sleep(_HANDOVER_SECONDS)
    else:
        # a service of that revision must be running to fill it
        await _catch_up(parts, console, previous, live)
        await switch(parts.mongo, live, previous)
    console.print(f"Generation {previous} is live.")
    return 0


async def _catch_up(parts: Parts, console: Console, new: str, live: str) -> None:
    columns = (TextColumn("filling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("filling", total=None)
        async for now in progress(parts, new, live):
            bar.update(task, completed=now.passed, total=now.total)


async def _compare(parts: Parts, console: Console, live: str, new: str) -> Sequence[ReadModel]:
    """Print the first differences of each read model, and return those that differ."""
    differing: list[ReadModel] = []
    for name in READ_MODELS:
        seen = await _compared(parts, console, live, new, name)
        different = seen["different"]
        console.print(f"{name}: {seen['same'] + different} documents, {different} different")
        if different:
            differing.append(name)
    return differing


async def _compared(parts: Parts, console: Console, live: str, new: str, name: ReadModel) -> Counter[str]:
    why = ""
    for _ in range(_TRIES):
        seen = Counter[str]()
        try:
            async for difference in differences(parts.mongo, live, new, name):
                seen["same" if difference is None else "different"] += 1
                if difference is not None and seen["different"] <= _SHOWN:
                    console.print(f"  {difference}", markup=False, highlight=False)
        except (CannotHaltError, TransientError) as error:
            why = str(error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return seen
    raise CannotHaltError(f"{name} cannot be compared: {why}")
