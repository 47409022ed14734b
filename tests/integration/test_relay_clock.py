"""A relay whose clock is far ahead of the broker's."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
import pytest_asyncio

from deploy.local.state import free_ports
from tests.relaying import counted, first_sights, published, read, relay, remake_topics, store, waiting
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration

# Python imports a module of this name at startup, wherever it finds it.
CLOCK = """
import time
from pathlib import Path

_ahead, _true = Path(__file__).with_name("ahead"), time.time
time.time = lambda: _true() + 7200 * _ahead.exists()
"""


@pytest_asyncio.fixture
async def brokers(kafka: Server) -> AsyncIterator[str]:
    """The broker with empty topics."""
    await remake_topics(kafka.url)
    yield kafka.url


async def set_aside(url: str) -> int:
    """How many streams are set aside."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM set_aside")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_clock_far_ahead_delays_events_and_sets_none_aside(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    ahead = tmp_path / "ahead"
    ahead.touch()
    port = free_ports(1)[0]
    await store(postgres_url, counted(20, 3))
    async with (
        relay(
            postgres_url, brokers, tmp_path / "relay.log", PORT=str(port), PYTHONPATH=str(tmp_path)
        ) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as operator,
    ):

        async def reported() -> bool:
            answer = await operator.get("/health/ready")
            return answer.status_code == 503 and "InvalidTimestampError" in answer.text

        async def tried() -> bool:
            return running.log.read_text().count("InvalidTimestampError") >= 5

        async def ready() -> bool:
            return (await operator.get("/health/ready")).status_code == 200

        await running.says("InvalidTimestampError")
        await eventually(reported, "the relay reports why it is not ready")
        await eventually(tried, "enough retries to split the batches into single events")
        assert (await waiting(postgres_url), await set_aside(postgres_url)) == (60, 0)
        ahead.unlink()
        await published(postgres_url)
        await eventually(ready, "the relay is ready")
    assert await set_aside(postgres_url) == 0
    assert first_sights(await read(brokers)) == {f"orders/s{n}": [1, 2, 3] for n in range(20)}
