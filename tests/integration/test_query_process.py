"""The process itself: many sockets, little memory, graceful shutdown."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.asyncio.client import ClientConnection, connect

from deploy.local.state import free_ports
from tests.query_service import SECRET, STAFF, Store, order_document, store_of
from tests.servers import eventually

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SOCKETS = 1000
MOST_PER_SOCKET = 60_000


@pytest_asyncio.fixture
async def store(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Store]:
    async with store_of(mongodb_url, mongodb_database) as opened:
        yield opened


async def started(mongodb_url: str, database: str, port: int) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "PORT": str(port),
        "MONGODB_URL": mongodb_url,
        "MONGODB_DATABASE": database,
        "JWT_SECRET": SECRET,
    }
    module = [sys.executable, "-m", "services.query"]
    process = await asyncio.create_subprocess_exec(*module, cwd=ROOT, env=environment)

    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                return (await client.head("/orders/stream", headers=STAFF)).status_code == 200
        except httpx.HTTPError:
            return False

    await eventually(ready, "the process serves", 30)
    return process


def resident_bytes(process: asyncio.subprocess.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


async def messages(connection: ClientConnection, count: int) -> None:
    for _ in range(count):
        await connection.recv()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
async def test_a_thousand_sockets_take_little_memory_that_does_not_grow(
    mongodb_url: str, mongodb_database: str, store: Store
) -> None:
    (port,) = free_ports(1)
    process = await started(mongodb_url, mongodb_database, port)
    before = resident_bytes(process)
    address = f"ws://127.0.0.1:{port}/ws"
    sockets: list[ClientConnection] = []
    for _ in range(SOCKETS // 50):
        opening = (
            connect(address, additional_headers=STAFF, compression=None, open_timeout=30) for _ in range(50)
        )
        sockets += await asyncio.gather(*opening)
    await asyncio.gather(*(messages(opened, 1) for opened in sockets))
    opened_with = resident_bytes(process)
    assert opened_with - before < SOCKETS * MOST_PER_SOCKET
    for number in range(10):
        await store.put_order(order_document(number))
    await asyncio.gather(*(messages(opened, 10) for opened in sockets))
    assert resident_bytes(process) - opened_with < SOCKETS * MOST_PER_SOCKET / 4

    process.send_signal(signal.SIGTERM)
    await asyncio.gather(*(opened.wait_closed() for opened in sockets))
    assert {opened.close_code for opened in sockets} == {1012}
    assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_the_process_stops_despite_open_streams_and_waiting_requests(
    mongodb_url: str, mongodb_database: str, store: Store
) -> None:
    (port,) = free_ports(1)
    process = await started(mongodb_url, mongodb_database, port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        waiting = asyncio.create_task(
            client.get("/orders/x?minVersion=1", headers={**STAFF, "Prefer": "wait=30"})
        )
        async with client.stream("GET", "/orders/stream", headers=STAFF) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            process.send_signal(signal.SIGTERM)
            assert [line async for line in lines] == [""]
        assert (await waiting).status_code == 503
    assert await asyncio.wait_for(process.wait(), 8) == 0


async def test_a_handshake_may_be_as_large_as_any_other_request(
    mongodb_url: str, mongodb_database: str, store: Store
) -> None:
    (port,) = free_ports(1)
    process = await started(mongodb_url, mongodb_database, port)
    claims = {"sub": "grace", "roles": ["staff"], "exp": 2**33, "more": "x" * 8_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    headers = {"Authorization": f"Bearer {token}"} | {f"X-{number}": "more" for number in range(200)}
    address = f"ws://127.0.0.1:{port}/ws?cursor={'x' * 10_000}"
    async with connect(address, additional_headers=headers) as opened:
        assert '"reset"' in str(await opened.recv())
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 8) == 0


async def test_all_errors_in_the_environment_are_reported_together() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "MONGODB_URL": "localhost",
        "PORT": "many",
        "LOG_LEVEL": "loud",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.query", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    for name in ("MONGODB_URL", "PORT", "LOG_LEVEL", "JWT_SECRET"):
        assert name in errors.decode()
