"""Shared by the event store's tests: commands, and a store to execute them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import psycopg
from prometheus_client import CollectorRegistry

from services.command.domain import customer, order, product
from services.command.store.commands import (
    Accepted,
    Answer,
    Command,
    Needs,
    Outcome,
    Rejected,
    VersionMismatch,
)
from services.command.store.event_store import EventStore
from shared.money import Money
from tests.servers import eventually

Rows = list[tuple[Any, ...]]


def shown(decided: Outcome) -> Answer:
    """An answer that shows what was decided."""
    match decided:
        case Accepted(version, subject):
            return Answer(202, orjson.dumps({"subject": subject, "version": version}), f"/{subject}")
        case Rejected(rejection):
            return Answer(409, type(rejection).__name__.encode(), None)
        case VersionMismatch(actual):
            return Answer(412, str(actual).encode(), None)


def command(aggregate: Any, subject: str, decide: Any, **more: Any) -> Command[Any]:
    return Command(
        category=aggregate.category,
        subject=subject,
        aggregate=aggregate,
        decide=decide,
        actor="grace",
        traceparent=None,
        request_id="r",
        received_at=datetime.now(UTC),
        answer=shown,
        **more,
    )


def offer(product_id: str, name: str = "Lamp", price: int = 1990, **more: Any) -> Command[Any]:
    body = product.OfferProduct(product_id=product_id, name=name, price=Money(price))
    return command(product.PRODUCT, product_id, lambda state, _: product.offer(state, body), **more)


def register(customer_id: str, name: str = "Ada", **more: Any) -> Command[Any]:
    body = customer.RegisterCustomer(customer_id=customer_id, name=name, email="ada@example.com")
    return command(customer.CUSTOMER, customer_id, lambda state, _: customer.register(state, body), **more)


def erase(customer_id: str, **more: Any) -> Command[Any]:
    body = customer.EraseCustomer(customer_id=customer_id)
    return command(customer.CUSTOMER, customer_id, lambda state, _: customer.erase(state, body), **more)


def place(customer_id: str, *products: str, order_id: str | None = None, **more: Any) -> Command[Any]:
    body = order.PlaceOrder(
        order_id=order_id or str(uuid4()),
        customer_id=customer_id,
        lines=tuple(order.Line(name, 1) for name in products),
    )
    return command(
        order.ORDER,
        body.order_id,
        lambda state, facts: order.place(state, body, facts),
        needs=Needs(products=products, customer=customer_id),
        **more,
    )


def cancel(order_id: str, **more: Any) -> Command[Any]:
    body = order.CancelOrder(order_id=order_id, customer_id=None, reason="no")
    return command(order.ORDER, order_id, lambda state, _: order.cancel(state, body), **more)


def ship(order_id: str, **more: Any) -> Command[Any]:
    body = order.ShipOrder(order_id=order_id, tracking_number="T")
    return command(order.ORDER, order_id, lambda state, _: order.ship(state, body), **more)


def history_of(product_id: str, length: int) -> str:
    """Stores a product that was listed and then renamed repeatedly, finally to `n<length>`."""
    return f"""
        INSERT INTO events
            (stream_id, version, event_id, category, subject, type, schema_version, data, metadata,
            occurred_at)
        SELECT 'products/{product_id}', version, gen_random_uuid(), 'products', '{product_id}',
            CASE version WHEN 1 THEN 'ProductListed' ELSE 'ProductRenamed' END, 1,
            jsonb_build_object('productId', '{product_id}', 'name', 'n' || version)
                || CASE version WHEN 1 THEN '{{"price": "19.90"}}'::jsonb ELSE '{{}}'::jsonb END,
            '{{"actor": "grace"}}', date_trunc('milliseconds', now())
        FROM generate_series(1, {length}) AS version
        ORDER BY version
        RETURNING 1"""


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[EventStore]:
    async with EventStore(url, CollectorRegistry(), **more) as store:

        async def ready() -> bool:
            return await store.why_not_ready() is None

        await eventually(ready, "the store is ready")
        yield store


async def rows(url: str, statement: str, *parameters: Any) -> Rows:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await (await connection.execute(statement.encode(), parameters or None)).fetchall()


async def status(store: EventStore, asked: Command[Any]) -> int:
    return (await store.execute(asked)).answer.status


async def statuses(store: EventStore, *asked: Command[Any]) -> list[int]:
    return list(await asyncio.gather(*(status(store, each) for each in asked)))
