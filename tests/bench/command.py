"""The command side: accepted orders over HTTP, and appending through the event store alone."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import psycopg

from deploy.local.state import free_ports
from deploy.local.tokens import token
from services.command.store.loading import load
from services.command.store.migrate import migrate
from tests.bench.appends import repeated
from tests.bench.lines import Line
from tests.bench.load import Outcome, closed_loop, open_loop, post
from tests.bench.processes import SECRET, output, running, staying_on
from tests.servers import start_postgres
from tests.storing import history_of, offer, opened

SECONDS: Final = 8.0
CONNECTIONS: Final = 64
ITEMS: Final = [{"productId": f"p{number}", "quantity": number} for number in (1, 2, 3)]
BODY: Final = orjson.dumps({"items": ITEMS})


async def accepted_orders(folder: Path) -> list[Line]:
    """`POST /orders` at 64 connections, one API process, against a bare handler on the same core."""
    server = await start_postgres(folder / "http" / "server")
    try:
        await migrate(server.url)
        with staying_on(1):
            bare, peak, half = await _over_http(server.url)
    finally:
        await server.stop()
    return [
        Line(
            name="orders accepted over HTTP, 64 connections / bare ASGI handler with pydantic",
            value=peak.rate,
            baseline=bare.rate,
            bar=0.4,
        ),
        Line(
            name=f"p99 of an accepted order at half the peak ({half.rate:.0f}/s), median of 3 / 25 ms",
            value=half.quantile(0.99),
            baseline=25,
            bar=1,
            unit="ms",
            at_most=True,
        ),
    ]


async def _over_http(url: str) -> tuple[Outcome, Outcome, Outcome]:
    """The bare handler's peak, ours, and ours at half our peak."""
    bare_port, port = free_ports(2)
    async with running("tests.bench.bare", str(bare_port), port=bare_port, core=0):
        bare = await closed_loop(bare_port, post("/orders", BODY), CONNECTIONS, SECONDS)
    environment = {"POSTGRES_URL": url, "JWT_SECRET": SECRET, "PORT": str(port)}
    async with running("services.command", "api", port=port, core=0, environment=environment):
        await _stock(port)
        request = post("/orders", BODY, Authorization=f"Bearer {token(SECRET, 'ada')}")
        await closed_loop(port, request, CONNECTIONS, 2)
        peak = await closed_loop(port, request, CONNECTIONS, SECONDS)
        # the median of three, because a disk stall says nothing about this system
        halves = [await open_loop(port, request, peak.rate / 2, SECONDS) for _ in range(3)]
    for outcome in (peak, *halves):
        assert set(outcome.statuses) == {202}, outcome.statuses
    return bare, peak, sorted(halves, key=lambda outcome: outcome.quantile(0.99))[1]


async def _stock(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        staff = {"Authorization": f"Bearer {token(SECRET, 'grace', 'staff')}"}
        for name in ("p1", "p2", "p3"):
            answer = await client.put(
                f"/products/{name}", json={"name": name, "price": "19.90"}, headers=staff
            )
            assert answer.status_code == 202
        ada = {"name": "Ada", "email": "ada@example.com"}
        answer = await client.put("/customers/ada", json=ada, headers=staff)
        assert answer.status_code == 202


async def appending(folder: Path) -> list[Line]:
    """Orders (an event and an outbox row each) through the store, against `eventsourcing` and raw commits."""
    server = await start_postgres(folder / "store" / "server")
    try:
        await migrate(server.url)
        rival = await asyncio.to_thread(eventsourcing_saves, server.url, 8, SECONDS)
        raw = float(await output("tests.bench.appends", "raw", server.url))
        ours = float(await output("tests.bench.appends", "store", server.url))
    finally:
        await server.stop()
    return [
        Line(name="orders through the store / `eventsourcing`, 8 writers", value=ours, baseline=rival, bar=8),
        Line(
            name="orders through the store / one raw commit each, 8 connections",
            value=ours,
            baseline=raw,
            bar=4,
        ),
    ]


async def loading(folder: Path) -> list[Line]:
    """Repeatedly load a stream of 10,000 events, and one of 100."""
    server = await start_postgres(folder / "long" / "server")
    try:
        await migrate(server.url)
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
            for name, length in (("long", 10_000), ("short", 100)):
                await connection.execute(history_of(name, length).encode())
            async with opened(server.url) as store:
                for name in ("long", "short"):
                    await store.execute(offer(name))  # loading a long stream saves a snapshot
            took = {}
            for name in ("long", "short"):
                asked = [offer(name)]
                rate = await repeated(3, 1, partial(load, connection, asked, []))
                took[name] = 1000 / rate
    finally:
        await server.stop()
    return [
        Line(
            name="loading 10,000 events / 100 events",
            value=took["long"],
            baseline=took["short"],
            bar=2,
            unit="ms",
            at_most=True,
        )
    ]


def eventsourcing_saves(url: str, writers: int, seconds: float) -> float:
    """Aggregates saved per second by the library `eventsourcing`, PostgreSQL, its default safe mode."""
    from concurrent.futures import ThreadPoolExecutor
    from urllib.parse import urlsplit

    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate

    parts = urlsplit(url)
    application: Application[Any] = Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.strip("/"),
            "POSTGRES_HOST": str(parts.hostname),
            "POSTGRES_PORT": str(parts.port),
            "POSTGRES_USER": str(parts.username),
            "POSTGRES_PASSWORD": str(parts.password),
        }
    )
    until = time.perf_counter() + seconds

    def save() -> int:
        count = 0
        while time.perf_counter() < until:
            application.save(Aggregate())
            count += 1
        return count

    started = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        total = sum(future.result() for future in [pool.submit(save) for _ in range(writers)])
    rate = total / (time.perf_counter() - started)
    application.close()
    return rate
