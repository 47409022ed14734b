"""Reads during the faults: no answer may claim to be fresher than it is."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

import httpx

from tests.chaos.ledger import Ledger
from tests.end_to_end.shop import Person

_RECENT: Final = 50


async def watch_freshness(staff: Person, ledger: Ledger, random: Random, is_over: Callable[[], bool]) -> None:
    """Read recent orders, and check each answer against its lag header."""
    while not is_over():
        await asyncio.sleep(random.uniform(0, 0.05))
        order = random.choice(ledger.of(None)[-_RECENT:])
        least = order.version(before=time.time())
        awaited = f"?minVersion={least}"
        path = f"/orders/{order.id}" + random.choice(("", "/history", awaited))
        proven, answer = await asked(staff, path, Prefer="wait=2")
        if answer is not None:
            body = answer.json()
            version = max(entry.get("version", 0) for entry in body.get("data", [body]))
            owed = max(order.version(before=proven), least if path.endswith(awaited) else 0)
            assert version >= owed, (
                f"GET {path} claims to include commits before {proven}, but is at {version}, not {owed}:"
                f" {order.changes}, {answer.headers}"
            )


async def asked(person: Person, path: str, **headers: str) -> tuple[float, httpx.Response | None]:
    """The answer, or None if there is none, and the time up to which it claims to be complete.

    An answer requested at s with lag L was made no earlier than s, so it includes all commits before s - L,
    and so at least what clients had been answered by then. All clocks are this machine's.
    """
    at = time.time()
    try:
        answer = await person.get(path, **headers)
    except httpx.TransportError:
        return 0, None
    assert answer.status_code in {200, 404, 503}, f"GET {path}: {answer.status_code} {answer.text}"
    # the header is in whole milliseconds, hence the last term
    proven = at - int(answer.headers["X-Read-Model-Lag-Ms"]) / 1000 - 0.002
    return proven, None if answer.status_code == 503 else answer


async def walked(person: Person, path: str) -> list[dict[str, Any]]:
    """The entries of all pages."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await person.see(f"{path}?limit=100{cursor and f'&cursor={cursor}'}")
        found += page["data"]
        cursor = page["nextCursor"]
    return found
