"""The event store on a real PostgreSQL: each command is atomic, whatever runs concurrently."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from services.command.domain import customer, order, product
from services.command.store.appending import append
from services.command.store.commands import (
    Accepted,
    Answer,
    Command,
    Idempotency,
    Needs,
    Outcome,
    Rejected,
    VersionMismatch,
)
from services.command.store.connecting import LOCK_TIMEOUT_MS, connect
from services.command.store.deciding import decide
from services.command.store.errors import ContendedError, KeyReusedError
from services.command.store.event_store import EventStore
from services.command.store.executing import Executor
from services.command.store.fact_cache import FactCache
from services.command.store.housekeeping import cut_fingerprints, expire_idempotency_keys
from services.command.store.loading import load
from services.command.store.metrics import StoreMetrics
from services.command.store.migrate import migrate
from services.command.store.pending import PendingCommand
from services.command.store.snapshots import EVERY, save_snapshots
from shared.money import Money
from tests.servers import eventually

pytestmark = pytest.mark.integration
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


async def test_an_event_its_outbox_row_and_its_price_are_stored_together(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        assert await status(store, offer("lamp")) == 202
        assert await status(store, offer("lamp", "Lantern", 2990)) == 202
    assert await rows(
        postgres_url, "SELECT e.version, e.type FROM events e JOIN outbox USING (position) ORDER BY position"
    ) == [(1, "ProductListed"), (2, "ProductRenamed"), (3, "ProductRepriced")]
    assert await rows(postgres_url, "SELECT name, price_cents, version FROM products_lookup") == [
        ("Lantern", 2990, 3)
    ]


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


async def test_if_match_is_checked_before_domain_rules(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await statuses(store, offer("lamp"), register("ada"))
        order_id = str(uuid4())
        assert await status(store, place("ada", "lamp", order_id=order_id)) == 202
        assert await status(store, cancel(order_id, expected=1)) == 202
        assert await status(store, cancel(order_id, expected=1)) == 412
        assert await status(store, cancel(order_id, expected=2)) == 409
        assert await status(store, cancel("unknown", expected=2)) == 409
        assert await status(store, offer("new", expected="*")) == 412
        assert await status(store, offer("new", expected=0)) == 202
        assert await status(store, offer("new", expected=0)) == 412


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


async def test_rejections_are_replayed_too(postgres_url: str) -> None:
    key = Idempotency("ada", "k", b"0123456789abcdef" + b"x" * 32)
    async with opened(postgres_url) as store:
        assert await status(store, cancel("nothing", idempotency=key)) == 409
        again = await store.execute(cancel("nothing", idempotency=key))
    assert (again.answer.status, again.replayed) == (409, True)


async def test_keys_expire_after_25_hours(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await rows(postgres_url, keys_of_age("24 hours 59 minutes", 1))
        assert await expire_idempotency_keys(store._pool) == 0
        await rows(postgres_url, keys_of_age("25 hours 1 minute", 1001))
        assert await expire_idempotency_keys(store._pool) == 1001
    assert await rows(postgres_url, "SELECT count(*) FROM idempotency_keys") == [(1,)]


async def test_a_store_that_opens_cleans_up(postgres_url: str) -> None:
    await rows(postgres_url, keys_of_age("25 hours 1 minute", 1))
    await rows(postgres_url, keys_of_age("1 minute", 1))
    erased = "INSERT INTO customers_lookup VALUES ('ada', false, 2) RETURNING 1"
    await rows(postgres_url, erased)

    async def clean() -> bool:
        left = await rows(postgres_url, "SELECT length(fingerprint) FROM idempotency_keys")
        return left == [(16,)]

    async with opened(postgres_url):
        await eventually(clean, "the old key is gone, and the digest of the other")


def keys_of_age(age: str, count: int) -> str:
    """Stores idempotency keys of the customer `ada`."""
    return f"""
        INSERT INTO idempotency_keys (user_id, key, stream_id, fingerprint, status, body, created_at)
        SELECT '{age}', n, 'customers/ada', repeat('x', 48)::bytea, 202, '{{}}', now() - interval '{age}'
        FROM generate_series(1, {count}) AS n RETURNING 1"""


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


async def test_a_commit_is_announced_to_the_relay(postgres_url: str) -> None:
    async with (
        opened(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as listening,
    ):
        await listening.execute("LISTEN outbox")
        assert await status(store, offer("lamp")) == 202
        heard = [notice.channel async for notice in listening.notifies(timeout=15, stop_after=1)]
    assert heard == ["outbox"]


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


async def test_personal_data_is_stored_encrypted_and_erased_with_its_key(postgres_url: str) -> None:
    key = Idempotency("ada", "k", b"0123456789abcdef" + b"x" * 32)
    async with opened(postgres_url) as store:
        assert await status(store, register("ada", "Ada Lovelace", idempotency=key)) == 202
        assert await status(store, register("ada", "Ada Lovelace")) == 202
        keys = await store.personal_data_keys(["ada", "bob"])
        assert keys["ada"] is not None
        assert keys["bob"] is None
        assert await status(store, erase("ada")) == 202
        assert await store.personal_data_keys(["ada"]) == {"ada": None}
        # the same request is still recognized, although nothing of its body is stored
        assert (await store.execute(register("ada", "Ada Lovelace", idempotency=key))).replayed
    for table in ("events", "snapshots", "idempotency_keys", "customers_lookup"):
        text = str(await rows(postgres_url, f"SELECT t::text FROM {table} t"))
        assert "Lovelace" not in text
        assert b"x".hex() * 32 not in text


async def test_no_digest_of_what_is_sent_for_an_erased_customer_is_stored(postgres_url: str) -> None:
    key = Idempotency("ada", "k", b"0123456789abcdef" + b"x" * 32)
    async with opened(postgres_url) as store:
        assert await status(store, register("ada")) == 202
        assert await status(store, erase("ada")) == 202
        assert await status(store, register("ada", "Ada Lovelace", idempotency=key)) == 409
        stored = await rows(postgres_url, "SELECT fingerprint FROM idempotency_keys")
        assert stored == [(b"0123456789abcdef",)]
        assert (await store.execute(register("ada", "Ada Lovelace", idempotency=key))).replayed


async def test_a_key_without_a_stream_is_reused(postgres_url: str) -> None:
    """Events and keys are backed up separately, so a restore may bring back keys newer than the events."""
    left = "INSERT INTO personal_data_keys VALUES ('ada', repeat('k', 32)::bytea) RETURNING 1"
    async with opened(postgres_url) as store:
        await rows(postgres_url, left)
        before = await store.personal_data_keys(["ada"])
        assert await status(store, register("ada")) == 202
        assert await store.personal_data_keys(["ada"]) == before


async def test_requests_concurrent_with_an_erasure_leave_no_digest(postgres_url: str) -> None:
    late = """
        INSERT INTO idempotency_keys (user_id, key, stream_id, fingerprint, status, body)
        SELECT 'u', name, 'customers/' || name, repeat('x', 48)::bytea, 202, '{}'
        FROM unnest(ARRAY['ada', 'bob']) AS name RETURNING 1"""
    async with opened(postgres_url) as store:
        assert await statuses(store, register("ada"), register("bob")) == [202, 202]
        assert await status(store, erase("ada")) == 202
        await rows(postgres_url, late)
        assert await cut_fingerprints(store._pool) == 1
        assert await cut_fingerprints(store._pool) == 0
    left = "SELECT stream_id, length(fingerprint) FROM idempotency_keys ORDER BY 1"
    assert await rows(postgres_url, left) == [("customers/ada", 16), ("customers/bob", 48)]


async def test_a_long_stream_gets_a_snapshot_and_outdated_ones_are_ignored(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        for number in range(120):
            assert await status(store, offer("lamp", f"n{number}")) == 202
        (taken,) = await rows(postgres_url, "SELECT version, shape FROM snapshots")
        assert 100 <= taken[0] <= 120
        outdated = "UPDATE snapshots SET shape = 0, version = 120, state = '{\"nonsense\": 1}' RETURNING 1"
        await rows(postgres_url, outdated)
        executed = await store.execute(offer("lamp", "n119"))
        assert orjson.loads(executed.answer.body)["version"] == 120
        assert await rows(postgres_url, "SELECT version, shape FROM snapshots") == [(120, 1)]


async def test_a_stream_of_10_000_events_loads_no_more_events_than_one_of_100(postgres_url: str) -> None:
    """`make bench ONLY=command` measures the time."""
    for name, length in (("long", 10_000), ("short", 100)):
        await rows(postgres_url, history_of(name, length))
    async with opened(postgres_url) as store:
        for name, length in (("long", 10_000), ("short", 100)):
            executed = await store.execute(offer(name, f"n{length}"))  # it already has this name
            assert orjson.loads(executed.answer.body)["version"] == length
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        context = await load(connection, [offer("long"), offer("short")], [])
    long, short = context.streams["products/long"], context.streams["products/short"]
    assert (long.version, short.version) == (10_000, 100)
    assert long.state.name == "n10000"
    assert (long.replayed, short.replayed) == (0, 0)  # each is at its snapshot's version


async def test_a_snapshot_is_not_replaced_by_an_older_one(postgres_url: str) -> None:
    await rows(postgres_url, history_of("lamp", 2 * EVERY))
    late = PendingCommand(offer("lamp"), asyncio.get_running_loop().create_future())
    async with (
        opened(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as slow,
    ):
        context = await load(slow, [late.command], [])
        assert await status(store, offer("lamp", "other")) == 202
        await rows(postgres_url, "UPDATE snapshots SET version = version + 1 RETURNING 1")
        await save_snapshots(slow, [late], context)
    assert await rows(postgres_url, "SELECT version FROM snapshots") == [(2 * EVERY + 1,)]


async def test_a_command_for_a_new_stream_that_already_exists_stores_nothing(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        assert await statuses(store, register("ada"), offer("lamp")) == [202, 202]
        new = place("ada", "lamp", order_id="o", begins=True)
        assert await status(store, new) == 202
        with pytest.raises(ContendedError):
            await store.execute(new)
    assert await rows(postgres_url, "SELECT version FROM events WHERE subject = 'o'") == [(1,)]


async def test_event_times_never_go_backwards(postgres_url: str) -> None:
    times = iter([datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)])
    async with opened(postgres_url, clock=lambda: next(times)) as store:
        await status(store, offer("lamp"))
        await status(store, offer("lamp", "other"))
    stored = await rows(postgres_url, "SELECT DISTINCT occurred_at FROM events")
    assert stored == [(datetime(2026, 1, 2, tzinfo=UTC),)]


async def test_event_times_do_not_go_behind_a_snapshot(postgres_url: str) -> None:
    await rows(postgres_url, history_of("lamp", EVERY))
    async with opened(postgres_url, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as store:
        assert await status(store, offer("lamp", f"n{EVERY}")) == 202  # changes nothing, but takes a snapshot
        assert await status(store, offer("lamp", "other")) == 202
    stored = await rows(postgres_url, "SELECT occurred_at FROM events ORDER BY version DESC LIMIT 2")
    assert stored[0] == stored[1]


async def test_events_cannot_be_changed_or_deleted(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await status(store, offer("lamp"))
    for statement in ("DELETE FROM events", "UPDATE events SET data = '{}'", "TRUNCATE events"):
        with pytest.raises(psycopg.errors.RaiseException):
            await rows(postgres_url, statement)


async def test_migrations_may_run_concurrently(postgres_url: str) -> None:
    fresh = postgres_url + "_fresh"
    await rows(postgres_url, "SELECT 1")
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {fresh.rsplit('/', 1)[1]}".encode())
    applied = await asyncio.gather(*(migrate(fresh) for _ in range(5)))
    assert sorted(map(len, applied))[:4] == [0, 0, 0, 0]
    assert max(map(len, applied)) > 0


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
