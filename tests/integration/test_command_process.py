"""The process itself: startup, readiness and graceful shutdown."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest

from deploy.local.state import free_ports
from deploy.local.tokens import token
from services.command.settings import StoreSettings
from services.command.store.migrate import migrate
from shared.settings import read_settings
from tests.bench.processes import SECRET, running
from tests.servers import eventually, start_postgres

pytestmark = pytest.mark.integration

STAFF = {"Authorization": f"Bearer {token(SECRET, 'grace', 'staff')}"}
LAMP = {"name": "Lamp", "price": "19.90"}


async def test_a_stopping_process_finishes_running_commands_and_refuses_new_ones(
    postgres_url: str,
) -> None:
    await migrate(postgres_url)
    (port,) = free_ports(1)
    environment = {"POSTGRES_URL": postgres_url, "JWT_SECRET": SECRET, "PORT": str(port)}
    async with (
        running("services.command", "api", port=port, environment=environment) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=STAFF) as client,
        await psycopg.AsyncConnection.connect(postgres_url) as stranger,
    ):
        # a rival in the middle of its transaction makes the command wait
        await stranger.execute(
            """INSERT INTO events
                (stream_id, version, event_id, category, subject, type, schema_version, data, metadata,
                 occurred_at)
            VALUES ('products/lamp', 1, gen_random_uuid(), 'products', 'lamp', 'ProductListed', 1,
                '{"productId": "lamp", "name": "Lamp", "price": "19.90"}', '{}', now())"""
        )
        under_way = asyncio.create_task(client.put("/products/lamp", json={"name": "Lamp", "price": "20.00"}))

        async def blocked() -> bool:
            locks = await stranger.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return await locks.fetchone() is not None

        await eventually(blocked, "the command waits for the rival")
        process.send_signal(signal.SIGTERM)

        async def leaving() -> bool:
            return (await client.get("/health/ready")).status_code == 503

        await eventually(leaving, "the process reports that it is stopping")
        refused = await client.put("/products/chair", json=LAMP)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"]
        assert refused.headers["connection"] == "close"
        await stranger.commit()
        assert (await under_way).json() == {"productId": "lamp", "version": 2}
        assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_a_process_started_without_its_database_waits_and_reports_it(tmp_path: Path) -> None:
    server = await start_postgres(tmp_path / "server")
    try:
        await migrate(server.url)
        await server.stop()
        (port,) = free_ports(1)
        environment = {"POSTGRES_URL": server.url, "JWT_SECRET": SECRET, "PORT": str(port)}
        async with (
            running("services.command", "api", environment=environment),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=STAFF, timeout=10) as client,
        ):

            async def ready(status: int) -> bool:
                try:
                    return (await client.get("/health/ready")).status_code == status
                except httpx.ConnectError:
                    return False

            await eventually(partial(ready, 503), "the process reports what it is waiting for")
            assert (await client.get("/health/ready")).json()["reasons"] == {
                "postgres": "the event store is unavailable"
            }
            refused = await client.put("/products/lamp", json=LAMP)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"]
            await server.start()
            await eventually(partial(ready, 200), "the process has found its database")
            assert (await client.put("/products/lamp", json=LAMP)).status_code == 202
    finally:
        await server.stop()


@pytest.mark.parametrize("password", ["hid%ten", "hid%den"])
def test_an_invalid_database_url_is_refused_without_showing_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    monkeypatch.setenv("POSTGRES_URL", f"postgresql://orders:{password}@127.0.0.1/orders")
    with pytest.raises(SystemExit, match="2"):
        read_settings(StoreSettings)
    errors = capsys.readouterr().err
    assert "POSTGRES_URL: cannot be parsed" in errors
    assert "hid" not in errors
