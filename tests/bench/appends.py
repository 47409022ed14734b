"""Appending, in a process set up as the service is: `python -m tests.bench.appends raw URL` (or `store`)."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import psycopg
from prometheus_client import CollectorRegistry
from uuid_utils import uuid7

from services.command.domain import customer, order, product
from services.command.domain.aggregate import Aggregate
from services.command.store.commands import Accepted, Answer, Command, Needs, Outcome
from services.command.store.event_store import EventStore
from shared.money import Money
from shared.process import collect_rarely, run

SECONDS: Final = 8.0


async def repeated(seconds: float, workers: int, work: Callable[[], Awaitable[Any]]) -> float:
    """How many times per second the given number of workers complete `work`."""
    count = 0
    until = time.perf_counter() + seconds

    async def worker() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await work()
            count += 1

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return count / (time.perf_counter() - started)


async def store_appends(url: str, clients: int, seconds: float) -> float:
    """Commands per second, each placing an order: an event and an outbox row, as in a raw commit."""
    async with EventStore(url, CollectorRegistry()) as store:
        offer = product.OfferProduct(product_id="lamp", name="Lamp", price=Money(1990))
        await store.execute(_command(product.PRODUCT, "lamp", lambda state, _: product.offer(state, offer)))
        ada = customer.RegisterCustomer(customer_id="ada", name="Ada", email="ada@example.com")
        await store.execute(
            _command(customer.CUSTOMER, "ada", lambda state, _: customer.register(state, ada))
        )
        needs = Needs(products=("lamp",), customer="ada")
        lines = (order.Line("lamp", 1),)

        async def one() -> None:
            body = order.PlaceOrder(order_id=str(uuid7()), customer_id="ada", lines=lines)
            await store.execute(
                _command(
                    order.ORDER,
                    body.order_id,
                    lambda state, facts: order.place(state, body, facts),
                    needs=needs,
                    begins=True,
                )
            )

        await repeated(1, clients, one)
        return await repeated(seconds, clients, one)


def _command(
    aggregate: Aggregate[Any], subject: str, decide: Callable[..., Any], **more: Any
) -> Command[Any]:
    return Command(
        category=aggregate.category,
        subject=subject,
        aggregate=aggregate,
        decide=decide,
        actor="bench",
        traceparent=None,
        request_id="bench",
        received_at=datetime.now(UTC),
        answer=_shown,
        **more,
    )


def _shown(decided: Outcome) -> Answer:
    assert isinstance(decided, Accepted), decided
    return Answer(202, b"", None)


async def raw_commits(url: str, connections: int, seconds: float) -> float:
    """Event and outbox row, one durable commit per event, on the given number of connections."""
    statement = b"""WITH e AS (
        INSERT INTO events (stream_id, version, event_id, category, subject, type, schema_version, data,
            metadata, occurred_at)
        VALUES (%(stream)s, 1, gen_random_uuid(), 'products', 'x', 'ProductListed', 1, '{"productId":"x"}',
            '{}', now())
        RETURNING position, stream_id)
        INSERT INTO outbox (position, stream_id, shard_hash) SELECT position, stream_id, 0 FROM e"""
    opened = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(connections)]
    free = asyncio.Queue[psycopg.AsyncConnection[Any]]()
    for connection in opened:
        free.put_nowait(connection)

    async def one() -> None:
        connection = await free.get()
        await connection.execute(statement, {"stream": f"raw/{uuid4().hex}"})
        free.put_nowait(connection)

    try:
        return await repeated(seconds, connections, one)
    finally:
        for connection in opened:
            await connection.close()


def main() -> None:
    """Print the rate per second."""
    collect_rarely()
    if sys.argv[1] == "raw":
        print(run(raw_commits(sys.argv[2], 8, SECONDS)))
    else:
        print(run(store_appends(sys.argv[2], 512, SECONDS)))


if __name__ == "__main__":
    main()
