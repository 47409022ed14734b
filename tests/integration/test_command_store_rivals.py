"""The event store on a real PostgreSQL: each command is atomic, whatever runs concurrently."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from services.command.domain import product
from services.command.store.appending import append
from services.command.store.commands import Command, Idempotency
from services.command.store.connecting import LOCK_TIMEOUT_MS, connect
from services.command.store.deciding import decide
from services.command.store.errors import KeyReusedError
from services.command.store.executing import Executor
from services.command.store.fact_cache import FactCache
from services.command.store.loading import load
from services.command.store.metrics import StoreMetrics
from services.command.store.pending import PendingCommand
from tests.servers import eventually
from tests.storing import (
    Rows,
    cancel,
    command,
    erase,
    history_of,
    offer,
    opened,
    place,
    register,
    rows,
    ship,
    status,
    statuses,
)

pytestmark = pytest.mark.integration


async def test_commands_store_the_same_events_one_by_one_and_concurrently(postgres_url: str) -> None:
    def commands(prefix: str) -> Sequence[Command[Any]]:
        ada = f"{prefix}ada"
        return [
            offer(f"{prefix}lamp"),
            register(ada),
            place(f"{prefix}nobody", f"{prefix}lamp"),
            *(offer(f"{prefix}p{number}", f"P{number}") for number in range(50)),
            offer(f"{prefix}p7", "P7 renamed", 2),
            cancel(f"{prefix}no-such-order"),
            offer(f"{prefix}p3", "P3", 1990),
            offer(f"{prefix}p4", "P4 too", expected=7),
            register(ada, "Ada L."),
            erase(ada),
            register(ada),
        ]

    async with opened(postgres_url) as store:
        one_by_one = [await status(store, each) for each in commands("a-")]
        at_once = await statuses(store, *commands("b-"))
    assert one_by_one == at_once
    stored = "SELECT substr(subject, 3), version, type FROM events WHERE subject LIKE %s ORDER BY 1, 2"
    assert await rows(postgres_url, stored, "a-%") == await rows(postgres_url, stored, "b-%")


async def test_one_of_two_concurrent_writers_on_a_stream_wins(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        await statuses(one, offer("lamp"), register("ada"))
        for _ in range(20):
            order_id = str(uuid4())
            assert await status(one, place("ada", "lamp", order_id=order_id)) == 202
            both = await asyncio.gather(status(one, cancel(order_id)), status(two, ship(order_id)))
            assert sorted(both) == [202, 409]
            conditional = [place("ada", "lamp", order_id=str(uuid4())) for _ in range(2)]
            assert await statuses(one, *conditional) == [202, 202]
    uneven = "SELECT stream_id FROM events GROUP BY 1 HAVING max(version) <> count(*)"
    assert await rows(postgres_url, uneven) == []


async def test_a_command_that_loses_a_race_is_decided_again(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        await status(one, offer("lamp", "start", 1))
        asked = [(store, offer("lamp", f"n{i}", i + 2)) for i in range(20) for store in (one, two)]
        answers = await asyncio.gather(*(status(store, each) for store, each in asked))
    assert set(answers) == {202}
    # a PUT that renames and reprices is never half stored
    versions = await rows(postgres_url, "SELECT version, type FROM events ORDER BY version")
    assert [version for version, _ in versions] == list(range(1, len(versions) + 1))
    kinds = [kind for _, kind in versions[1:]]
    assert kinds == ["ProductRenamed", "ProductRepriced"] * (len(kinds) // 2)


async def test_concurrent_requests_with_one_idempotency_key_write_once(postgres_url: str) -> None:
    key = partial(Idempotency, "ada", fingerprint=b"0123456789abcdef" + b"x" * 32)
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        await statuses(one, offer("lamp"), register("ada"))
        twins = [
            (store, place("ada", "lamp", idempotency=key("k"))) for store in (one, two) for _ in range(10)
        ]
        executed = await asyncio.gather(*(store.execute(twin) for store, twin in twins))
        assert len({each.answer.body for each in executed}) == 1
        assert [each.replayed for each in executed].count(False) == 1
        with pytest.raises(KeyReusedError):
            await one.execute(place("ada", "lamp", idempotency=Idempotency("ada", "k", b"other")))
        # the same key of another user is a different key
        assert await status(one, place("ada", "lamp", idempotency=Idempotency("eve", "k", b"other"))) == 202
    assert await rows(postgres_url, "SELECT count(*) FROM events WHERE category = 'orders'") == [(2,)]


@pytest.mark.parametrize("rival", ["takes their keys", "writes to their streams"])
async def test_commands_that_lose_leave_nothing_behind(postgres_url: str, rival: str) -> None:
    asked = [
        offer("lamp", "Lantern", idempotency=Idempotency("u", "0", b"x")),
        offer("desk", "Table", 2990, idempotency=Idempotency("u", "1", b"x")),  # two events
        register("ada", idempotency=Idempotency("u", "2", b"x")),
        erase("bob", idempotency=Idempotency("u", "3", b"x")),
    ]
    async with (
        opened(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as slow,
    ):
        assert await statuses(store, offer("desk"), register("bob")) == [202, 202]
        context = await load(slow, asked, [])
        decisions = [decide(each, context, datetime(2026, 1, 1, tzinfo=UTC)) for each in asked]
        if rival == "takes their keys":
            others = [offer(f"p{n}", idempotency=Idempotency("u", str(n), b"x")) for n in range(4)]
        else:
            others = [offer("lamp"), offer("desk", "Bench"), register("ada"), register("bob", "Bob")]
        assert await statuses(store, *others) == [202] * 4
        before = await everything(postgres_url)
        lost = await append(slow, decisions, context)
    assert lost == dict.fromkeys(range(4), "key" if rival == "takes their keys" else "conflict")
    assert await everything(postgres_url) == before


async def everything(url: str) -> dict[str, Rows]:
    """All that commands store."""
    tables = [
        "events",
        "outbox",
        "products_lookup",
        "customers_lookup",
        "personal_data_keys",
        "idempotency_keys",
    ]
    return {table: await rows(url, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables}


async def test_a_rivals_lock_delays_only_commands_for_the_same_stream(postgres_url: str) -> None:
    async with (
        opened(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url) as stranger,
    ):
        await statuses(store, *(offer(f"p{number}") for number in range(20)))
        # a rival in the middle of its transaction, as append_commands would be
        await stranger.execute(
            "INSERT INTO events (stream_id, version, event_id, category, subject, type, schema_version, data,"
            " metadata, occurred_at) VALUES ('products/p7', 2, gen_random_uuid(), 'products', 'p7',"
            " 'ProductDelisted', 1, '{\"productId\": \"p7\"}', '{}', now())"
        )
        waiting = asyncio.create_task(status(store, offer("p7", "other")))
        others = [offer(f"p{number}", "other") for number in range(20) if number != 7]
        async with asyncio.timeout(2):
            assert set(await statuses(store, *others)) == {202}
        assert not waiting.done()
        await stranger.commit()
        # decided again: the product was delisted in the meantime, so it is listed again
        assert await waiting == 202
    stored = "SELECT version, type FROM events WHERE subject = 'p7' ORDER BY version"
    assert await rows(postgres_url, stored) == [
        (1, "ProductListed"),
        (2, "ProductDelisted"),
        (3, "ProductListed"),
    ]


@pytest.mark.parametrize("phase", ["keys", "events"])
async def test_a_batch_takes_its_locks_in_the_same_order_as_any_other(postgres_url: str, phase: str) -> None:
    """It waits for the first row, and so does not hold the last, which the other transaction takes next."""
    asked = [offer(name, idempotency=Idempotency("u", name, b"x")) for name in ("c", "b", "a")]
    async with (
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection,
        await psycopg.AsyncConnection.connect(postgres_url) as stranger,
    ):
        context = await load(connection, asked, [])
        decisions = [decide(each, context, datetime(2026, 1, 1, tzinfo=UTC)) for each in asked]
        await stranger.execute("SET lock_timeout = '5s'")
        await stranger.execute(taken(phase, "a"))
        appending = asyncio.create_task(append(connection, decisions, context))
        blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s"

        async def is_blocked() -> bool:
            return bool(await rows(postgres_url, blocked, connection.info.backend_pid))

        await eventually(is_blocked, "the batch waits for the first row")
        await stranger.execute(taken(phase, "c"))
        await stranger.rollback()
        assert await appending == {}


def taken(phase: str, name: str) -> bytes:
    """Takes what the first event, or the idempotency key, of the product `name` needs."""
    if phase == "events":
        return history_of(name, 1).encode()
    return f"INSERT INTO idempotency_keys VALUES ('u', '{name}', 's', '', 202, '', NULL)".encode()


async def test_a_batch_that_was_split_leaves_the_lock_timeout_as_it_was(postgres_url: str) -> None:
    asked = [PendingCommand(offer(name), asyncio.get_running_loop().create_future()) for name in ("p", "q")]
    async with (
        await connect(postgres_url) as connection,
        await psycopg.AsyncConnection.connect(postgres_url) as stranger,
    ):
        await stranger.execute(
            "INSERT INTO products_lookup (product_id, name, price_cents, available, version)"
            " VALUES ('p', 'Lamp', 1, true, 1)"
        )
        metrics = StoreMetrics(CollectorRegistry())
        left = await Executor(connection, metrics, lambda: datetime.now(UTC), lambda: None, FactCache()).run(
            asked
        )
        assert left.locked == asked[:1]
        assert asked[1].future.done()
        now = await (await connection.execute("SHOW lock_timeout")).fetchone()
    assert now == (f"{LOCK_TIMEOUT_MS}ms",)


async def test_processes_that_write_the_same_streams_in_opposite_order_do_not_deadlock(
    postgres_url: str,
) -> None:
    async with opened(postgres_url, writers=1) as one, opened(postgres_url, writers=1) as two:
        for number in range(10):
            names = [f"p{name}" for name in range(40)]
            keys = {name: Idempotency("u", f"{number}-{name}", name.encode() * 16) for name in names}

            def asked(order: Sequence[str], title: str, keys: dict[str, Idempotency] = keys) -> Any:
                return [offer(name, title, idempotency=keys[name]) for name in order]

            async with asyncio.timeout(20):
                both = await asyncio.gather(
                    statuses(one, *asked(names, f"{number}")),
                    statuses(two, *asked(names[::-1], f"{number}")),
                )
            assert {status for each in both for status in each} == {202}
    uneven = "SELECT stream_id FROM events GROUP BY 1 HAVING max(version) <> count(*)"
    assert await rows(postgres_url, uneven) == []


async def test_cached_products_never_decide_a_price_or_reject_an_order(
    postgres_url: str,
) -> None:
    async with opened(postgres_url) as knowing, opened(postgres_url) as other:
        assert await statuses(other, offer("p", price=1990), register("ada")) == [202, 202]
        assert await status(knowing, place("ada", "p", order_id="first", begins=True)) == 202

        await status(other, offer("p", name="Lantern", price=2500))
        assert await status(knowing, place("ada", "p", order_id="second", begins=True)) == 202
        delist = product.DelistProduct(product_id="p")
        await status(other, command(product.PRODUCT, "p", lambda state, _: product.delist(state, delist)))
        assert await status(knowing, place("ada", "p", begins=True)) == 409
        await status(other, offer("p", name="Lantern", price=2600))
        assert await status(knowing, place("ada", "p", order_id="third", begins=True)) == 202
        await status(other, erase("ada"))
        assert await status(knowing, place("ada", "p", begins=True)) == 409

    prices = await rows(
        postgres_url,
        "SELECT subject, data->'items'->0->>'price' FROM events WHERE type = 'OrderCreated'"
        " ORDER BY position",
    )
    assert prices == [("first", "19.90"), ("second", "25.00"), ("third", "26.00")]


async def test_an_order_decided_on_outdated_facts_is_decided_again_under_its_key(postgres_url: str) -> None:
    key = Idempotency("ada", "k", b"x")
    async with opened(postgres_url) as knowing, opened(postgres_url) as other:
        assert await statuses(other, offer("p"), register("ada")) == [202, 202]
        assert await status(knowing, place("ada", "p", begins=True)) == 202
        assert await status(other, offer("p", price=2500)) == 202
        executed = await knowing.execute(place("ada", "p", order_id="o", begins=True, idempotency=key))
    assert (executed.answer.status, executed.replayed) == (202, False)
    price = "SELECT data->'items'->0->>'price' FROM events WHERE subject = 'o'"
    assert await rows(postgres_url, price) == [("25.00",)]


async def test_orders_for_cached_products_are_decided_without_a_query(postgres_url: str) -> None:
    known = FactCache()
    async with opened(postgres_url) as store:
        assert await statuses(store, offer("p"), register("ada")) == [202, 202]
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        asked = await load(connection, [place("ada", "p", begins=True)], [], known)
    assert asked.unverified == set()

    again = place("ada", "p", begins=True)
    remembered = await load(connection, [again], [], known)  # the connection is closed

    assert remembered.unverified == {again.stream_id}
    assert remembered.facts(again) == asked.facts(again)
