"""The relay reads from PostgreSQL exactly, in order, and in pieces of bounded size."""

from typing import Any, cast

import psycopg
import pytest

from services.command.relay.connecting import Connection, connect
from services.command.relay.history import PAGE, WINDOW, History
from services.command.relay.outbox import COUNTED, Outbox, put_aside
from services.command.relay.records import RefusedError
from services.command.relay.sql import sql
from tests.relaying import store

pytestmark = pytest.mark.integration

EVENTS = 2 * WINDOW + 5_000
PUBLISHED = WINDOW + 3_000
"""The last published position; later events wait in the outbox."""
EVERY = 1_500
"""The distance between the few events of `products`."""


class Explained:
    """A connection that records how many rows the busiest plan node of each statement reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.read: list[int] = []

    async def execute(
        self, statement: bytes, asked: dict[str, Any] | None = None
    ) -> psycopg.AsyncCursor[Any]:
        """Run the statement twice, first to explain it."""
        cursor = await self._connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement, asked)
        row = await cursor.fetchone()
        assert row is not None
        self.read.append(_most(row[0][0]["Plan"]))
        return await self._connection.execute(statement, asked)


def _most(plan: dict[str, Any]) -> int:
    here = plan["Actual Rows"] + sum(plan[key] for key in plan if key.startswith("Rows Removed by"))
    return max(int(here * plan["Actual Loops"]), *map(_most, plan.get("Plans", [])), 0)


async def stored(url: str) -> None:
    """Store few products among many orders."""
    streams = ("products" if number % EVERY == 0 else "orders" for number in range(1, EVENTS + 1))
    await store(url, [(f"{category}/s{number}", 1) for number, category in enumerate(streams)])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DELETE FROM outbox WHERE position <= %s", [PUBLISHED])
        await connection.execute("ANALYZE")


async def test_a_statement_reads_at_most_a_window_of_events(postgres_url: str) -> None:
    await stored(postgres_url)
    async with await connect(postgres_url) as connection:
        explained = Explained(connection)
        history = History(cast("Connection", explained), ["products"], 0)
        assert await history.measure() == EVENTS
        pages = [page async for page in history.pages()]
    assert [row.position for _, rows in pages for row in rows] == list(range(EVERY, PUBLISHED + 1, EVERY))
    assert sum(passed for passed, _ in pages) == EVENTS
    assert max(explained.read) <= WINDOW


async def test_pages_have_no_gaps_and_no_repeats(postgres_url: str) -> None:
    await stored(postgres_url)
    async with (
        await connect(postgres_url) as connection,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other,
    ):
        await other.execute("DELETE FROM outbox")
        await other.execute(
            "INSERT INTO outbox (position, stream_id, shard_hash) VALUES (17, 'orders/s16', 1)"
        )
        await other.execute("INSERT INTO set_aside VALUES ('orders/s20', 21, 'no')")
        history = History(connection, ["orders", "products"], 9)
        total = await history.measure()
        await store(postgres_url, [("orders/late", 1)])
        pages = [page async for page in history.pages()]
    expected = [position for position in range(10, EVENTS + 1) if position not in {17, 21}]
    assert [row.position for _, rows in pages for row in rows] == expected
    assert max(len(rows) for _, rows in pages) == PAGE
    assert sum(passed for passed, _ in pages) == total


async def crowded(url: str, rows: int) -> None:
    """Store an event that has waited for an hour, followed by the given number of outbox rows."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO events (stream_id, version, event_id, category, subject, type, schema_version, data,"
            " metadata, occurred_at, recorded_at) VALUES ('orders/old', 1, gen_random_uuid(), 'orders',"
            " 'old', 'OrderCancelled', 1, '{}', '{}', now(), now() - interval '1 hour')"
        )
        await connection.execute(
            "INSERT INTO outbox SELECT n, 'orders/' || n, n FROM generate_series(1, 1 + %s) AS n", [rows]
        )


async def test_a_large_outbox_is_counted_up_to_a_limit_but_its_age_is_exact(postgres_url: str) -> None:
    await crowded(postgres_url, COUNTED + 5_000)
    async with await connect(postgres_url) as connection:
        explained = Explained(connection)
        reading = cast("Connection", explained)
        alone = await Outbox(reading, connection, 1, 0).depth()
        halves = [await Outbox(reading, connection, 2, shard).depth() for shard in (1, 0)]
        assert alone[0] == sum(half[0] for half in halves) == COUNTED
        assert alone[1] == pytest.approx(3600, abs=60)
        assert halves[0][1] == pytest.approx(3600, abs=60)
        assert max(explained.read) == COUNTED
        await connection.execute("DELETE FROM outbox WHERE position > 3")
        assert (await Outbox(reading, connection, 1, 0).depth())[0] == 3
        assert (await Outbox(reading, connection, 2, 0).depth())[0] == 1


async def test_a_plan_made_for_an_empty_outbox_deletes_without_scanning_a_full_one(postgres_url: str) -> None:
    async with await connect(postgres_url, mortal=True) as session, await connect(postgres_url) as other:
        outbox = Outbox(other, session, 1, 0)
        for position in range(20):  # until the session keeps one plan for all later deletions
            await outbox.delete([position])
        await crowded(postgres_url, 5_000)
        await outbox.delete(range(1, 2_001))
        # a session reports its statistics when it is asked to, and idle
        await session.execute("SELECT pg_stat_force_next_flush()")
        scanned = await (
            await other.execute("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'outbox'")
        ).fetchone()
        left = await (await other.execute("SELECT count(*) FROM outbox")).fetchone()
    assert (scanned, left) == ((0,), (3_001,))


async def test_a_shard_reads_its_own_oldest_events_in_order_wherever_their_rows_are(
    postgres_url: str,
) -> None:
    await store(postgres_url, [(f"orders/s{number}", 1) for number in range(40)])
    async with await connect(postgres_url) as connection:
        # a table is read in the order in which its rows were inserted, unless a statement says otherwise
        await connection.execute(
            "WITH taken AS (DELETE FROM outbox RETURNING *)"
            " INSERT INTO outbox SELECT * FROM taken ORDER BY position DESC"
        )
        for shard in (0, 1):
            cursor = await connection.execute(
                "SELECT position FROM outbox WHERE shard_hash %% 2 = %s ORDER BY position", [shard]
            )
            mine = [position for (position,) in await cursor.fetchall()]
            outbox = Outbox(connection, connection, 2, shard)
            assert [row.position for row in await outbox.oldest(mine[:1], 5)] == mine[1:6]
            assert (await outbox.span())[1:] == (mine[0], mine[-1])


async def test_streams_set_aside_are_put_back_from_their_first_refused_event_on(postgres_url: str) -> None:
    streams = [f"orders/s{number}" for number in range(20)]
    await store(postgres_url, [(stream, version) for version in (1, 2, 3) for stream in streams])
    async with await connect(postgres_url) as connection:

        async def waiting() -> list[tuple[Any, ...]]:
            statement = b"SELECT position, stream_id, shard_hash FROM outbox ORDER BY position"
            return await (await connection.execute(statement)).fetchall()

        refused = [row for row in await waiting() if row[0] > len(streams)]
        await connection.execute("DELETE FROM outbox")
        seconds, thirds = refused[: len(streams)], refused[len(streams) :]
        for position, stream, _ in (*thirds, *seconds, *thirds):
            await put_aside(connection, RefusedError(stream, position, "no"))
        outbox = Outbox(connection, connection, 1, 0)
        await outbox.load_set_aside()
        assert outbox.set_aside == {stream: position for position, stream, _ in seconds}

        await connection.execute(sql("retry_set_aside"), {"topics": ["products"]})
        assert await waiting() == []
        await connection.execute(sql("retry_set_aside"), {"topics": ["orders"]})
        assert await waiting() == refused
        await outbox.load_set_aside()
    assert outbox.set_aside == {}
