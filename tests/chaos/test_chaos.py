"""The whole system under load while its processes are randomly killed and frozen.

CHAOS_SECONDS=300 CHAOS_SEED=7 .venv/bin/pytest tests/chaos -s
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import pytest

from tests.chaos.clients import Client
from tests.chaos.faults import inject_faults
from tests.chaos.invariants import figures_agree, orders_are_as_answered, topics_hold_the_store
from tests.chaos.ledger import Ledger
from tests.chaos.listeners import Listener, TopicReader
from tests.chaos.reading import asked, watch_freshness
from tests.end_to_end.conftest import System, started
from tests.end_to_end.shop import Person
from tests.end_to_end.shop import staff as staff_of
from tests.servers import eventually

SECONDS: Final = float(os.environ.get("CHAOS_SECONDS", "40"))
SEED: Final = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
_BUYERS: Final = 4
_HANDS: Final = 2
"""Clients that act for the same buyer at the same time."""
_PRODUCTS: Final = ("lamp", "chair", "table-renamed", "shelf-renamed")
_REQUEST_SECONDS: Final = 4.0
_SETTLE_SECONDS: Final = 90.0


@pytest.mark.end_to_end
@pytest.mark.timeout(SECONDS + 400)
async def test_nothing_is_lost_duplicated_or_invented(tmp_path: Path) -> None:
    print(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:.0f}")
    limits = httpx.Limits(max_connections=None)
    with started() as system:
        assert system.logs is not None
        try:
            async with httpx.AsyncClient(timeout=_REQUEST_SECONDS, limits=limits) as http:
                await _chaos(system, http)
        except Exception as failure:
            shutil.copy(system.logs / "log", tmp_path)
            seed = f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:.0f}"
            raise AssertionError(f"{seed}, the log is {tmp_path / 'log'}: {_first(failure)}") from failure


async def _chaos(system: System, http: httpx.AsyncClient) -> None:
    staff, ledger = staff_of(system, http), Ledger()
    buyers = [Person(system, http, f"buyer-{number}") for number in range(_BUYERS)]
    end = time.monotonic() + SECONDS

    def is_over() -> bool:
        return time.monotonic() > end

    clients = [
        Client(f"{buyer.name}.{hand}", buyer, staff, _random(buyer.name, hand), ledger, is_over)
        for hand in range(_HANDS)
        for buyer in buyers
    ]
    for client in clients[:_BUYERS]:
        await client.rename()
    for product in _PRODUCTS:
        await clients[0].reprice(product)
    listeners = [
        Listener(person, _random(person.name, over), over)
        for person in (staff, *buyers[:2])
        for over in ("/orders/stream", "/ws")
    ]
    topics = TopicReader(system.endpoints["kafka"])
    async with _running(topics.run(), *(listener.run() for listener in listeners)):
        for listener in listeners:
            await asyncio.wait_for(listener.listens.wait(), _SETTLE_SECONDS)
        await clients[0].place()
        async with asyncio.TaskGroup() as group:
            group.create_task(inject_faults(system, _random("faults"), is_over))
            group.create_task(watch_freshness(staff, ledger, _random("reader"), is_over))
            group.create_task(clients[0].sell())
            for client in clients:
                group.create_task(client.shop())
        print(f"{len(ledger.orders)} orders; checking the invariants")
        await _settled(staff, ledger, listeners, topics)
        await figures_agree(staff, ledger, await orders_are_as_answered(staff, buyers, ledger))
        await topics_hold_the_store(system, topics.events)
        assert await topics.dead_letters() == 0, "there are dead letters"


async def _settled(staff: Person, ledger: Ledger, listeners: Sequence[Listener], topics: TopicReader) -> None:
    """Wait until every document, listener and topic reader is up to date."""
    last_answer = time.time()

    async def is_fresh() -> bool:
        proven, answer = await asked(staff, "/orders?limit=1")
        return answer is not None and proven > last_answer

    def missing() -> str:
        return "\n".join(line for listener in listeners for line in listener.missing(ledger))

    async def all_received() -> bool:
        return not missing()

    await eventually(is_fresh, "the documents report that they are up to date", _SETTLE_SECONDS)
    try:
        await eventually(all_received, "all listeners have received everything", _SETTLE_SECONDS, every=0.5)
    except AssertionError as late:
        raise AssertionError(f"{late}:\n{missing()}") from None
    await eventually(topics.is_through, "the topics are read to their end", _SETTLE_SECONDS)


@asynccontextmanager
async def _running(*background: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these in the background; if one of them fails, the whole run fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(it) for it in background]
        yield
        for task in tasks:
            task.cancel()


def _first(failure: Exception) -> Exception:
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _random(*what: object) -> Random:
    """A random generator that depends only on the seed and the owner's name."""
    return Random(f"{SEED} {what}")
