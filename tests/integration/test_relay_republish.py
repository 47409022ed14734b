"""Republishing: history is published to the topics again, alongside a running relay."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import httpx
import psycopg
import pytest
import pytest_asyncio
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from pydantic import SecretStr

from deploy.local.state import free_ports
from services.command.relay.cluster import answered
from services.command.relay.connecting import connect
from services.command.relay.locks import Gate
from services.command.relay.republish import Republish
from services.command.settings import RepublishSettings
from services.command.store.migrate import migrate
from shared.times import parse_rfc3339
from tests.relaying import (
    ROOT,
    cluster,
    counted,
    first_sights,
    heartbeats,
    published,
    read,
    relay,
    remake_topics,
    store,
)
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def brokers(kafka: Server) -> AsyncIterator[str]:
    """The broker with empty topics."""
    await remake_topics(kafka.url)
    yield kafka.url


async def started(postgres: str, kafka: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start the job."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.command", "republish", *arguments),
        cwd=ROOT,
        env={**os.environ, "POSTGRES_URL": postgres, "KAFKA_BOOTSTRAP_SERVERS": kafka},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def republish(postgres: str, kafka: str, *arguments: str) -> str:
    """Run the job; returns its output."""
    process = await started(postgres, kafka, *arguments)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_whole_topics_are_republished_while_new_events_are_published(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    old = counted(250, 20)
    await store(postgres_url, old)
    async with relay(postgres_url, brokers, tmp_path / "relay.log"):
        await published(postgres_url)
        job = asyncio.create_task(republish(postgres_url, brokers))
        version = 20
        while not job.done():
            version += 1
            await store(postgres_url, [(f"orders/s{n}", version) for n in range(50)])
            await published(postgres_url)
        await job
    seen = await read(brokers)
    assert len({each.incarnation for each in seen if each.topic == "orders"}) == 1
    expected = {f"orders/s{n}": list(range(1, (version if n < 50 else 20) + 1)) for n in range(250)}
    assert first_sights(seen) == expected
    # some of the new events may have been in the topic before the job measured the history
    assert len(seen) >= 2 * len(old) + 50 * (version - 20)
    times = [parse_rfc3339(beat["t"]).timestamp() for beat in await heartbeats(brokers)]
    assert max(after - before for before, after in pairwise(times)) < 2, (
        "heartbeats must go on during the job"
    )


async def test_one_command_makes_a_recreated_topic_complete_and_ordered_again(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, [*counted(100, 5), *counted(10, 2, "products")])
    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await published(postgres_url)
        await remake_topics(brokers)
        await store(postgres_url, [(f"orders/s{n}", 6) for n in range(100)])
        await published(postgres_url)
        await running.says("topic orders is missing history")
        assert "emptying topic orders" in await republish(postgres_url, brokers)
        await store(postgres_url, [(f"orders/s{n}", 7) for n in range(100)])
        await published(postgres_url)
    seen = await read(brokers)
    orders = {f"orders/s{n}": list(range(1, 8)) for n in range(100)}
    assert first_sights(seen) == {**orders, **{f"products/s{n}": [1, 2] for n in range(10)}}
    assert len(seen) == 100 * 7 + 20
    assert len({each.incarnation for each in seen}) == 2


async def test_only_the_requested_events_are_republished(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, [*counted(10, 1), *counted(10, 1, "products")])
    async with relay(postgres_url, brokers, tmp_path / "relay.log"):
        await published(postgres_url)
        await republish(postgres_url, brokers, "--topic", "products", "--from", "16")
    seen = await read(brokers)
    assert len([each for each in seen if each.topic == "orders"]) == 10
    again = sorted(each.position for each in seen if each.topic == "products")
    assert again == sorted([*range(11, 21), *range(16, 21)])


async def test_republishing_retries_streams_that_were_set_aside(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, [("orders/big", 1)])
    await store(postgres_url, [("orders/big", 2)], reason="x" * 1_100_000)
    await store(postgres_url, [("orders/big", 3)])
    port = free_ports(1)[0]

    async def set_aside() -> bool:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
        return "relay_streams_set_aside 1.0" in answer.text

    async with relay(postgres_url, brokers, tmp_path / "relay.log", PORT=str(port)) as running:
        await running.says("event 2 of orders/big")
        await published(postgres_url)
        await eventually(set_aside, "the stream is reported")
        larger = ConfigEntry("max.message.bytes", "3000000", incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[larger])
        admin = cluster(brokers).admin  # kept, because its futures die with it
        for answer in admin.incremental_alter_configs([changed]).values():
            await answered(answer)
        await republish(postgres_url, brokers)
        await published(postgres_url)
        await store(postgres_url, [("orders/big", 4)])
        await published(postgres_url)
        assert not await set_aside()
    assert first_sights(await read(brokers)) == {"orders/big": [1, 2, 3, 4]}


async def test_nothing_is_deleted_unless_the_history_can_be_read(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, counted(10, 1))
    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await published(postgres_url)
        await remake_topics(brokers)
        await store(postgres_url, [(f"orders/s{n}", 2) for n in range(10)])
        await published(postgres_url)
        await running.says("topic orders is missing history")
        settings = RepublishSettings(postgres_url=SecretStr(postgres_url), kafka_bootstrap_servers=brokers)
        async with await connect(postgres_url) as session, await connect(postgres_url) as reading:
            await reading.execute("SET search_path = nowhere")
            with pytest.raises(psycopg.Error):
                await Republish(settings, session, reading).run(["orders"], 0)
    assert first_sights(await read(brokers)) == {f"orders/s{n}": [2] for n in range(10)}


async def test_an_interrupted_job_reports_it_in_one_line(postgres_url: str, brokers: str) -> None:
    await migrate(postgres_url)
    async with (
        await connect(postgres_url) as session,
        await connect(postgres_url) as calling,
        Gate(session, calling),
    ):
        job = await started(postgres_url, brokers)

        async def waits() -> bool:
            locks = await calling.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return await locks.fetchone() is not None

        await eventually(waits, "the job waits for the gate")
        job.send_signal(signal.SIGINT)
        output, _ = await job.communicate()
    assert job.returncode == 130
    assert output.decode().endswith("interrupted; run it again\n")
    assert "Traceback" not in output.decode()


async def test_of_two_jobs_at_once_only_one_refills_a_recreated_topic(
    postgres_url: str, brokers: str
) -> None:
    await store(postgres_url, counted(1000, 3))
    async with (
        await connect(postgres_url) as session,
        await connect(postgres_url) as calling,
    ):
        await calling.execute("DELETE FROM outbox")
        async with Gate(session, calling):
            jobs = [await started(postgres_url, brokers) for _ in range(2)]

            async def both_wait() -> bool:
                locks = await calling.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                return await locks.fetchone() == (2,)

            await eventually(both_wait, "both jobs wait for the gate", 30)
        said = [(await job.communicate())[0].decode() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    assert "emptying" not in "".join(said)
    assert first_sights(await read(brokers)) == {f"orders/s{n}": [1, 2, 3] for n in range(1000)}
