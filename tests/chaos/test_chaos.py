"""The whole system under load while its processes are killed and frozen by chance.

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
from tests.chaos.faults import Faults
from tests.chaos.invariants import (
    figures_agree,
    no_dead_letters,
    orders_are_as_answered,
    stored,
    topics_agree,
)
from tests.chaos.ledger import Ledger
from tests.chaos.listeners import Listener, TopicReader
from tests.chaos.reading import LAG, asked, watch_freshness
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
async def test_nothing_is_lost_doubled_or_invented(tmp_path: Path) -> None:
    print(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:.0f}")
    limits = httpx.Limits(max_connections=None)
    with started() as system:
        assert system.logs is not None
        try:
            async with httpx.AsyncClient(timeout=_REQUEST_SECONDS, limits=limits) as http:
                await _chaos(system, http)
        except Exception as failure:
            shutil.copy(system.logs / "log", tmp_path)
            failure.add_note(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:.0f}; the log is {tmp_path / 'log'}")
            raise


async def _chaos(system: System, http: httpx.AsyncClient) -> None:
    staff, ledger = staff_of(system, http), Ledger()
    buyers = [Person(system, http, f"buyer-{number}") for number in range(_BUYERS)]
    end = time.monotonic() + SECONDS

    def is_over() -> bool:
        return time.monotonic() > end

    clients = [
        Client(f"{buyer.name}.{hand}", buyer, staff, _random(buyer.name, hand), ledger, is_over)
        for buyer in buyers
        for hand in range(_HANDS)
    ]
    for client in clients[::_HANDS]:
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
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.shop())
            group.create_task(clients[0].sell())
            group.create_task(Faults(system, _random("faults")).befall(is_over))
            group.create_task(watch_freshness(staff, ledger, _random("reader"), is_over))
        events = sum(len(order.changes) for order in ledger.orders.values())
        print(f"{len(ledger.orders)} orders with {events} events; what holds in the end?")
        await _settled(staff, ledger, listeners, topics)
        documents = await orders_are_as_answered(staff, buyers, ledger)
        await figures_agree(staff, ledger, documents)
        events_by_id = await stored(system)
        assert sum(stream.startswith("orders/") for stream, _ in events_by_id.values()) == events
        topics_agree(events_by_id, topics.events)
        await no_dead_letters(system)


async def _settled(staff: Person, ledger: Ledger, listeners: Sequence[Listener], topics: TopicReader) -> None:
    """Wait until everything has been told to everybody, by what each of them says."""

    async def is_fresh() -> bool:
        asked_at = time.time()
        answer = await asked(staff, "/orders?limit=1")
        return answer is not None and asked_at - int(answer.headers[LAG]) / 1000 > ledger.last_answer()

    await eventually(is_fresh, "the documents are up to date, and say so", _SETTLE_SECONDS)

    async def all_were_told() -> bool:
        return not any(listener.missing(ledger) for listener in listeners)

    try:
        await eventually(all_were_told, "all listeners were told everything", _SETTLE_SECONDS, every=0.5)
    except AssertionError as late:
        missing = [line for listener in listeners for line in listener.missing(ledger)]
        raise AssertionError(f"{late}:\n" + "\n".join(missing)) from None
    await eventually(topics.is_through, "the topics are read to their end", _SETTLE_SECONDS)


@asynccontextmanager
async def _running(*background: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """These run meanwhile; if one of them fails, all does."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(it) for it in background]
        yield
        for task in tasks:
            task.cancel()


def _random(*what: object) -> Random:
    """Chance that depends on the seed and on whose it is only."""
    return Random(f"{SEED} {what}")
