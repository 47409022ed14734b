"""The read side as its users feel it: how soon an order is visible, how many can be read."""

import asyncio
import json
import time
from pathlib import Path
from typing import Final

import httpx
import orjson

from deploy.local.state import free_ports
from deploy.local.tokens import token
from tests.bench.lines import Line
from tests.bench.load import closed_loop, get
from tests.bench.processes import SECRET, running
from tests.bench.system import PRODUCTS, System, whole
from tests.servers import eventually

RATE: Final = 100
SECONDS: Final = 8.0
BODY: Final = orjson.dumps({"items": [{"productId": name, "quantity": 1} for name in PRODUCTS]})


async def reading(folder: Path) -> list[Line]:
    """Freshness at 100 orders a second, then reads at 64 connections."""
    async with whole(folder) as system:
        async with httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token(SECRET, 'ada')}"}, timeout=40
        ) as http:
            await visible(system, http, 2.0)  # everything has been used once
            documents, messages, order = await visible(system, http, SECONDS)
            answer = await http.get(f"http://127.0.0.1:{system.query}/orders/{order}")
        port = free_ports(1)[0]
        request = get(f"/orders/{order}", Authorization=f"Bearer {token(SECRET, 'ada')}")
        async with running("tests.bench.bare_get", str(port), answer.text, port=port):
            bare = await closed_loop(port, request, 64, SECONDS)
        reads = await closed_loop(system.query, request, 64, SECONDS)
        assert set(reads.statuses) == {200}, reads.statuses
    return [
        _quantile("p50, from a command's answer to its document", documents, 0.5, 10),
        _quantile("p99, from a command's answer to its document", documents, 0.99, 50),
        _quantile("p50, from a command's answer to its live message", messages, 0.5, 20),
        Line(
            name="GET /orders/{id}, 64 connections / bare ASGI handler, same bytes",
            value=reads.rate,
            baseline=bare.rate,
            bar=0.35,
        ),
    ]


def _quantile(name: str, milliseconds: list[float], share: float, bar: float) -> Line:
    ordered = sorted(milliseconds)
    value = ordered[min(len(ordered) - 1, int(len(ordered) * share))]
    return Line(name=f"{name} / {bar} ms", value=value, baseline=bar, bar=1, unit="ms", at_most=True)


async def visible(
    system: System, http: httpx.AsyncClient, seconds: float
) -> tuple[list[float], list[float], str]:
    """Milliseconds from each answer to its document and to its live message, and one order's id."""
    answered: dict[str, float] = {}
    heard: dict[str, float] = {}
    documents: list[float] = []
    standing = asyncio.Event()

    async def listen() -> None:
        async with http.stream("GET", f"http://127.0.0.1:{system.query}/orders/stream") as stream:
            standing.set()
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    now = time.perf_counter()
                    heard[json.loads(line[5:])["order"]["id"]] = now

    async def order() -> None:
        answer = await http.post(
            f"http://127.0.0.1:{system.command}/orders",
            content=BODY,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 202, answer.text
        accepted = time.perf_counter()
        order_id = answer.json()["orderId"]
        answered[order_id] = accepted
        url = f"http://127.0.0.1:{system.query}/orders/{order_id}?minVersion=1"
        seen = await http.get(url, headers={"Prefer": "wait=30"})
        assert seen.status_code == 200, seen.text
        documents.append((time.perf_counter() - accepted) * 1000)

    listening = asyncio.create_task(listen())
    await standing.wait()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(RATE * seconds)):
            await asyncio.sleep(max(0.0, started + number / RATE - time.perf_counter()))
            tasks.create_task(order())

    async def all_heard() -> bool:
        return len(heard) >= len(answered)

    await eventually(all_heard, "every order's message")
    listening.cancel()
    messages = [max(0.0, heard[name] - at) * 1000 for name, at in answered.items()]
    return documents, messages, next(iter(answered))
