"""Folding a large batch yields to the event loop in between."""

import asyncio

from services.projection.projecting import slices


async def test_other_tasks_run_while_a_large_batch_is_folded() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    concurrent = asyncio.create_task(other())
    folded = [number async for some in slices(range(1000)) for number in some]
    concurrent.cancel()
    assert folded == list(range(1000))
    assert turns >= 19


async def test_a_small_batch_does_not_yield_to_other_tasks() -> None:
    other = asyncio.create_task(asyncio.sleep(0))
    assert [list(some) async for some in slices(range(50))] == [list(range(50))]
    assert not other.done()
    await other
