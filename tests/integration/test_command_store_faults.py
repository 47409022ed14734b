"""Faults of the event store: its database unavailable, frozen, killed or partly restored; a lost answer."""

import asyncio
import os
import signal
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from deploy.local.state import free_ports
from services.command.store.commands import Idempotency
from services.command.store.connecting import backend_of, connect, end_backend
from services.command.store.errors import StoreUnavailableError
from services.command.store.event_store import EventStore
from services.command.store.migrate import migrate
from services.command.store.snapshots import EVERY
from tests.links import link_to
from tests.servers import IN_CONTAINERS, Server, eventually, start_postgres
from tests.storing import (
    erase,
    history_of,
    offer,
    opened,
    place,
    register,
    rows,
    status,
    statuses,
)

pytestmark = pytest.mark.integration
ORDERS = "SELECT count(*) FROM events WHERE category = 'orders'"


async def test_a_customer_whose_key_is_missing_after_a_restore_gets_unavailable(
    postgres_url: str,
) -> None:
    async with opened(postgres_url) as store:
        assert await status(store, register("ada")) == 202
        await rows(postgres_url, "DELETE FROM personal_data_keys RETURNING 1")
        with pytest.raises(StoreUnavailableError):
            await store.execute(register("ada", "Ada Lovelace"))
        assert await status(store, erase("ada")) == 202


async def test_a_long_stream_without_its_key_gets_no_snapshot_and_harms_no_other(postgres_url: str) -> None:
    async with opened(postgres_url, writers=1) as store:
        for number in range(EVERY):
            assert await status(store, register("ada", f"Ada {number}")) == 202
        await rows(postgres_url, "DELETE FROM personal_data_keys RETURNING 1")
        with pytest.raises(StoreUnavailableError):
            await store.execute(register("ada", "Ada Lovelace"))
        assert await status(store, register("bob")) == 202
    assert await rows(postgres_url, "SELECT version FROM snapshots") == []


async def test_a_command_that_cannot_be_encoded_does_not_end_the_writer(postgres_url: str) -> None:
    async with opened(postgres_url, writers=1) as store:
        broken = offer("lamp")
        broken.request_id = "\ud800"  # half a character, which no request can contain
        with pytest.raises(TypeError):
            await store.execute(broken)
        assert await status(store, offer("lamp")) == 202


async def test_a_database_without_the_latest_migration_counts_as_unavailable(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        assert await statuses(store, offer("lamp"), register("ada")) == [202, 202]
        for what in ("FUNCTION append_batch", "TABLE personal_data_keys"):
            async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
                await connection.execute(f"DROP {what}".encode())
        for asked in (store.execute(offer("desk")), store.execute(register("bob"))):
            with pytest.raises(StoreUnavailableError):
                await asked
        with pytest.raises(StoreUnavailableError):
            await store.personal_data_keys(["ada"])


async def test_the_metric_counts_the_commands_that_wait_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.command.store.event_store._DRAIN_SECONDS", 0.1)
    registry = CollectorRegistry()
    async with EventStore(f"postgresql://127.0.0.1:{free_ports(1)[0]}/none", registry) as store:
        sent = [asyncio.create_task(store.execute(offer(name))) for name in ("lamp", "desk", "rug")]
        await asyncio.sleep(0)
        assert registry.get_sample_value("command_waiting") == 3
        for each in sent:
            each.cancel()
        await asyncio.wait(sent)


@pytest.mark.skipif(IN_CONTAINERS, reason="freezes local processes")
async def test_reading_keys_from_a_frozen_database_times_out(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.command.store.event_store._ANSWER_SECONDS", 0.5)
    async with opened(postgres_url) as store:
        backends = await rows(
            postgres_url,
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name LIKE 'command-%' AND datname = current_database()",
        )
        for (pid,) in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                with pytest.raises(StoreUnavailableError):
                    await store.personal_data_keys(["ada"])
        finally:
            for (pid,) in backends:
                os.kill(pid, signal.SIGCONT)


async def test_accepted_commands_are_answered_before_the_store_closes(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        under_way = asyncio.create_task(status(store, offer("lamp")))
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        assert await under_way == 202


async def test_no_order_is_lost_or_duplicated_when_connections_are_killed(postgres_url: str) -> None:
    """Backends are repeatedly terminated under load; every order with a 202 is stored exactly once."""
    async with opened(postgres_url) as store:
        await statuses(store, offer("lamp"), register("ada"))
        accepted: list[str] = []
        stopping = asyncio.Event()

        async def customer_orders() -> None:
            while not stopping.is_set():
                order_id = str(uuid4())
                try:
                    if await status(store, place("ada", "lamp", order_id=order_id)) == 202:
                        accepted.append(order_id)
                except StoreUnavailableError:
                    continue

        customers = [asyncio.create_task(customer_orders()) for _ in range(16)]
        victims = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'command-%' AND datname = current_database()"
        )
        try:
            for round_number in range(1, 8):

                async def more(wanted: int = round_number * 50) -> bool:
                    return len(accepted) >= wanted

                await eventually(more, "orders are accepted")
                await rows(postgres_url, victims)
        finally:
            stopping.set()
            await asyncio.gather(*customers)
    stored = await rows(postgres_url, "SELECT subject FROM events WHERE category = 'orders'")
    subjects = [subject for (subject,) in stored]
    assert len(subjects) == len(set(subjects))
    assert set(accepted) <= set(subjects)


@pytest.mark.parametrize("keyed", [False, True], ids=["without a key", "with a key"])
async def test_a_commit_whose_answer_was_lost_is_looked_up_and_not_repeated(
    postgres_url: str, keyed: bool
) -> None:
    key = Idempotency("ada", "k", b"0123456789abcdef" + b"x" * 32) if keyed else None
    address = urlsplit(postgres_url)
    async with link_to(address.hostname or "", address.port or 0) as (link, port):
        linked = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{port}")).geturl()
        async with opened(linked, writers=1) as store:
            assert await statuses(store, offer("lamp"), register("ada")) == [202, 202]
            link.lost_after = b"append_batch"
            asked = asyncio.create_task(store.execute(place("ada", "lamp", idempotency=key, begins=True)))
            await asyncio.wait_for(link.lost.wait(), 5)
            assert await rows(postgres_url, ORDERS) == [(1,)]
            assert not asked.done()
            link.cut()
            executed = await asked
            assert (executed.answer.status, executed.replayed) == (202, False)
            # the answer names the only stored order
            assert (orjson.loads(executed.answer.body)["subject"],) in await rows(
                postgres_url, "SELECT subject FROM events WHERE category = 'orders'"
            )
    assert await rows(postgres_url, ORDERS) == [(1,)]


async def test_only_the_lost_connections_own_backend_is_ended(postgres_url: str) -> None:
    async with await connect(postgres_url) as connection, await connect(postgres_url) as other:
        pid, name = backend_of(other)
        await end_backend(connection, (pid, "command-lost"))  # its process id is in use again
        await other.execute("SELECT 1")
        await end_backend(connection, (pid, name))
        with pytest.raises(psycopg.OperationalError):
            await other.execute("SELECT 1")


async def test_commands_succeed_again_after_a_restart_of_the_database(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server: Server = await start_postgres(tmp_path_factory.mktemp("restart") / "server")
    await migrate(server.url)
    try:
        async with opened(server.url) as store:
            await statuses(store, offer("lamp"), register("ada"))
            await server.kill()
            waiting = asyncio.create_task(status(store, place("ada", "lamp")))
            with pytest.raises(StoreUnavailableError):
                await waiting
            assert await store.why_not_ready() is not None
            await server.start()

            async def ready() -> bool:
                return await store.why_not_ready() is None

            await eventually(ready, "the store is back")
            assert await status(store, place("ada", "lamp")) == 202
    finally:
        await server.stop()


async def test_a_database_that_returns_after_a_long_outage_is_used_immediately(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # delays the pool's third attempt as it would be after minutes of outage
    monkeypatch.setattr("psycopg_pool.base.AttemptWithBackoff.DELAY_BACKOFF", 100.0)
    server: Server = await start_postgres(tmp_path_factory.mktemp("away") / "server")
    await migrate(server.url)
    try:
        async with opened(server.url) as store:
            await server.kill()
            for _ in range(3):  # the first one uses the lost connection
                with pytest.raises(StoreUnavailableError):
                    await store.personal_data_keys(["ada"])
            await server.start()

            async def ready() -> bool:
                return await store.why_not_ready() is None

            await eventually(ready, "the store is back")
            assert await store.personal_data_keys(["ada"]) == {"ada": None}
    finally:
        await server.stop()


async def test_a_snapshot_that_cannot_be_saved_costs_no_connection(postgres_url: str) -> None:
    await rows(postgres_url, history_of("lamp", 150))
    async with opened(postgres_url) as store:
        backends = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name LIKE %s"
        before = await rows(postgres_url, backends, "command-%")
        async with await psycopg.AsyncConnection.connect(postgres_url) as stranger:
            await stranger.execute("LOCK TABLE snapshots IN EXCLUSIVE MODE")
            assert await status(store, offer("lamp", "n151", 1990)) == 202
            assert await status(store, offer("lamp", "n152", 1990)) == 202
        assert await rows(postgres_url, backends, "command-%") == before
        assert await status(store, offer("lamp", "n153", 1990)) == 202

        async def saved() -> bool:
            return await rows(postgres_url, "SELECT count(*) FROM snapshots") == [(1,)]

        await eventually(saved, "the next command that loads the stream saves a snapshot")
