"""The whole system for a benchmark: the three servers and the four processes, on free ports."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local.state import free_ports
from deploy.local.tokens import token
from tests.bench.processes import SECRET, finished, running
from tests.servers import start_kafka, start_mongodb, start_postgres

PRODUCTS = ("p1", "p2", "p3")


@dataclass(frozen=True, slots=True)
class System:
    """The system's addresses; `environment` contains what any of its processes needs."""

    command: int
    query: int
    environment: dict[str, str]

    async def stock(self) -> None:
        """Three products, and the customer `ada`."""
        staff = {"Authorization": f"Bearer {token(SECRET, 'grace', 'staff')}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.command}", headers=staff) as client:
            for name in PRODUCTS:
                answer = await client.put(f"/products/{name}", json={"name": name, "price": "19.90"})
                assert answer.status_code == 202
            answer = await client.put("/customers/ada", json={"name": "Ada", "email": "ada@example.com"})
            assert answer.status_code == 202


@asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[System]:
    """The servers, with migrations applied and topics created."""
    async with AsyncExitStack() as stack:
        started = []
        for name, start in (("pg", start_postgres), ("mongo", start_mongodb), ("kafka", start_kafka)):
            server = await start(folder / name / "server")
            stack.push_async_callback(server.stop)
            started.append(server)
        postgres, mongodb, kafka = started
        command, query = free_ports(2)
        environment = {
            "POSTGRES_URL": postgres.url,
            "MONGODB_URL": mongodb.url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka.url,
            "JWT_SECRET": SECRET,
            "PERSONAL_DATA_KEYS_URL": f"http://127.0.0.1:{command}",
            "PERSONAL_DATA_TOKEN": token(SECRET, "projection", "personal-data"),
        }
        await finished("services.command", "migrate", environment=environment)
        await finished("services.command", "topics", environment=environment)
        yield System(command, query, environment)


@asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[System]:
    """Servers and processes, with products and a customer."""
    async with servers(folder) as system, AsyncExitStack() as stack:
        relay, projection = free_ports(2)
        for arguments, port in (
            (("services.command", "api"), system.command),
            (("services.command", "relay"), relay),
            (("services.projection",), projection),
            (("services.query",), system.query),
        ):
            environment = {**system.environment, "PORT": str(port)}
            await stack.enter_async_context(running(*arguments, port=port, environment=environment))
        await system.stock()
        yield system
