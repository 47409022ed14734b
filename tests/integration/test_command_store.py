"""The event store on a real PostgreSQL: what a command stores, and for how long."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import orjson
import psycopg
import pytest

from services.command.store.commands import Idempotency
from services.command.store.errors import ContendedError
from services.command.store.housekeeping import expire_idempotency_keys
from services.command.store.loading import load
from services.command.store.migrate import migrate
from services.command.store.pending import PendingCommand
from services.command.store.snapshots import EVERY, save_snapshots
from tests.servers import eventually
from tests.storing import cancel, history_of, offer, opened, place, register, rows, status, statuses

pytestmark = pytest.mark.integration


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


async def test_a_commit_is_announced_to_the_relay(postgres_url: str) -> None:
    async with (
        opened(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as listening,
    ):
        await listening.execute("LISTEN outbox")
        assert await status(store, offer("lamp")) == 202
        heard = [notice.channel async for notice in listening.notifies(timeout=15, stop_after=1)]
    assert heard == ["outbox"]


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
