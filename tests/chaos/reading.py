"""Reading while it happens: no answer may claim to be fresher than it is."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

import httpx

from tests.chaos.ledger import Ledger
from tests.end_to_end.shop import Person

LAG: Final = "X-Read-Model-Lag-Ms"
_RECENT: Final = 50
_ROUNDED: Final = 0.005
"""Seconds that a header in whole milliseconds may be off, and some more."""


async def watch_freshness(staff: Person, ledger: Ledger, random: Random, is_over: Callable[[], bool]) -> None:
    """Read young orders, and hold each answer to its header.

    One asked for at s, saying L, was made no earlier than s: it claims to hold whatever was committed before
    s - L, and so at least what was answered to a client before then. All clocks are the machine's own.
    """
    while not is_over():
        await asyncio.sleep(random.uniform(0, 0.05))
        young = list(ledger.orders.values())[-_RECENT:]
        if not young:
            continue
        order = random.choice(young)
        asked_at = time.time()
        answer = await asked(staff, f"/orders/{order.id}")
        if answer is not None and answer.status_code in (200, 404):
            lag = int(answer.headers[LAG]) / 1000
            version = answer.json()["version"] if answer.status_code == 200 else 0
            owed = order.version(before=asked_at - lag - _ROUNDED)
            assert version >= owed, (
                f"order {order.id} is read at version {version} with a lag of {lag} s at {asked_at},"
                f" but {owed} was answered before that: {order.changes}"
            )


async def asked(person: Person, path: str) -> httpx.Response | None:
    """The answer; None when there is none to be had now, which a 503 says as well."""
    try:
        answer = await person.get(path)
    except httpx.TransportError:
        return None
    assert answer.status_code in (200, 404, 503), f"GET {path}: {answer.status_code} {answer.text}"
    return None if answer.status_code == 503 else answer


async def walked(person: Person, path: str) -> list[dict[str, Any]]:
    """Everything on all pages."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await person.see(f"{path}?limit=100{cursor}")
        found += page["data"]
        if not page["hasMore"]:
            return found
        cursor = f"&cursor={page['nextCursor']}"
