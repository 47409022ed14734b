"""Reading while it happens: no answer may claim to be fresher than it is."""

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
    """Read young orders, and hold each answer to its header."""
    while not is_over():
        await asyncio.sleep(random.uniform(0, 0.05))
        order = random.choice(ledger.of(None)[-_RECENT:])
        least = order.version(before=time.time())
        awaited = f"?minVersion={least}"
        path = f"/orders/{order.id}" + random.choice(("", "/history", awaited))
        proven, answer = await asked(staff, path, Prefer="wait=2")
        if answer is not None:
            told = answer.json()
            version = max(entry.get("version", 0) for entry in told.get("data", [told]))
            owed = max(order.version(before=proven), least if path.endswith(awaited) else 0)
            assert version >= owed, (
                f"GET {path} claims to hold what was committed before {proven}, is at {version}, not {owed}:"
                f" {order.changes}, {answer.headers}"
            )


async def asked(person: Person, path: str, **headers: str) -> tuple[float, httpx.Response | None]:
    """The answer, None when there is none to be had now; and up to when it claims to hold all.

    One asked for at s, saying L, was made no earlier than s: it holds whatever was committed before s - L,
    and so at least what was answered to a client before then. All clocks are the machine's own.
    """
    at = time.time()
    try:
        answer = await person.get(path, **headers)
    except httpx.TransportError:
        return 0, None
    assert answer.status_code in {200, 404, 503}, f"GET {path}: {answer.status_code} {answer.text}"
    # in whole milliseconds, hence the last term
    proven = at - int(answer.headers["X-Read-Model-Lag-Ms"]) / 1000 - 0.002
    return proven, None if answer.status_code == 503 else answer


async def walked(person: Person, path: str) -> list[dict[str, Any]]:
    """Everything on all pages."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await person.see(f"{path}?limit=100{cursor and f'&cursor={cursor}'}")
        found += page["data"]
        cursor = page["nextCursor"]
    return found
