"""The read side as its users see it: how soon an order is visible, and how many can be read."""

import asyncio
import time
from pathlib import Path
from typing import Final

import orjson

from deploy.local.state import free_ports
from deploy.local.tokens import token
from tests.bench.lines import Line
from tests.bench.load import Client, closed_loop, get, post
from tests.bench.processes import SECRET, running
from tests.bench.system import PRODUCTS, System, whole
from tests.servers import eventually

RATE: Final = 100
SECONDS: Final = 8.0
WARM_UP: Final = 15.0
"""For about this long the broker's JVM compiles its hot code, which takes CPU time."""
BODY: Final = orjson.dumps({"items": [{"productId": name, "quantity": 1} for name in PRODUCTS]})


async def reading(folder: Path) -> list[Line]:
    """Freshness at 100 orders a second, then reads at 64 connections."""
    async with whole(folder) as system:
        bearer = f"Bearer {token(SECRET, 'ada')}"
        await visible(system, bearer, WARM_UP)
        documents, messages, order = await visible(system, bearer, SECONDS)
        request = get(f"/orders/{order}", Authorization=bearer)
        client = Client(system.query)
        _, body = await client.send(request)
        client.close()
        port = free_ports(1)[0]
        async with running("tests.bench.bare_get", str(port), body.decode(), port=port):
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


async def visible(system: System, bearer: str, seconds: float) -> tuple[list[float], list[float], str]:
    """Milliseconds from each answer to its document and to its live message, and one order's id."""
    answered: dict[str, float] = {}
    heard: dict[str, float] = {}
    documents: list[float] = []
    standing = asyncio.Event()
    commands, queries = Client(system.command), Client(system.query)

    async def listen() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.query)
        writer.write(get("/orders/stream", Authorization=bearer))
        while line := await reader.readline():
            if line.startswith(b"id:"):
                standing.set()
            elif line.startswith(b"data:"):
                now = time.perf_counter()
                heard[orjson.loads(line[5:])["order"]["id"]] = now

    async def order() -> None:
        status, body = await commands.send(post("/orders", BODY, Authorization=bearer))
        accepted = time.perf_counter()
        assert status == 202, body
        order_id = orjson.loads(body)["orderId"]
        answered[order_id] = accepted
        request = get(f"/orders/{order_id}?minVersion=1", Authorization=bearer, Prefer="wait=30")
        status, body = await queries.send(request)
        assert status == 200, body
        documents.append((time.perf_counter() - accepted) * 1000)

    listening = asyncio.create_task(listen())
    await standing.wait()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(RATE * seconds)):
            due = started + number / RATE
            pause = max(0.0, due - time.perf_counter())
            await asyncio.sleep(pause)  # the pacing of the orders, not a wait for a condition
            tasks.create_task(order())

    async def all_heard() -> bool:
        return len(heard) >= len(answered)

    await eventually(all_heard, "every order's message is received")
    listening.cancel()
    commands.close()
    queries.close()
    messages = [max(0.0, heard[name] - at) * 1000 for name, at in answered.items()]
    return documents, messages, next(iter(answered))
