"""Large batches leave the event loop to others in between."""

import asyncio

from services.projection.projecting import slices


async def test_others_have_their_turn_while_a_large_batch_is_folded() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    folded = [number async for some in slices(range(1000)) for number in some]
    beside.cancel()
    assert folded == list(range(1000))
    assert turns >= 19


async def test_a_small_batch_waits_for_nobody() -> None:
    never_has_a_turn = asyncio.create_task(asyncio.sleep(0))
    assert [list(some) async for some in slices(range(50))] == [list(range(50))]
    assert not never_has_a_turn.done()
    await never_has_a_turn
