"""Test servers from testcontainers, on the ports that the servers of `make up` would use."""

import asyncio
import atexit
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from deploy.local.servers.kafka import Kafka
from deploy.local.servers.mongodb import REPLICA_SET, MongoDB
from deploy.local.servers.postgres import DATABASE, SETTINGS, USER, Postgres

_READY_SECONDS: Final = 90.0
_LOCAL_ONLY: Final = {"listen_addresses", "unix_socket_directories"}
testcontainers_config.ryuk_disabled = True  # every container is stopped by the code that started it


class ContainedServer:
    """A container that can be stopped, killed, frozen and restarted like a process."""

    def __init__(
        self, container: DockerContainer, url: str, ready: Callable[[], Awaitable[str | None]]
    ) -> None:
        self.url = url
        self._container = container
        self._ready = ready
        self._made = False

    @property
    def _running(self) -> Any:
        return self._container.get_wrapped_container()

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        if self._made:
            await asyncio.to_thread(self._running.start)
        else:
            atexit.register(
                self._container.stop
            )  # a stopped container may be started again until the end of the session
            self._made = True
            await asyncio.to_thread(self._container.start)
        deadline = monotonic() + _READY_SECONDS
        while (lacking := await self._ready()) is not None:
            assert monotonic() < deadline, f"{lacking}\n{self._running.logs(tail=30).decode()}"
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Stop it gracefully."""
        await asyncio.to_thread(self._running.stop, timeout=20)

    async def kill(self) -> None:
        """Kill it without a chance to clean up."""
        await asyncio.to_thread(self._running.kill)
        await asyncio.to_thread(self._running.wait)

    def freeze(self) -> None:
        """Freeze it in the middle of whatever it is doing."""
        self._running.pause()

    def thaw(self) -> None:
        """Let it continue."""
        self._running.unpause()


async def contained(
    container: DockerContainer, url: str, ready: Callable[[], Awaitable[str | None]]
) -> ContainedServer:
    """A running server in a container."""
    server = ContainedServer(container, url, ready)
    await server.start()
    return server


def postgres_container(like: Postgres) -> DockerContainer:
    """PostgreSQL."""
    settings = [f"-c {name}={value}" for name, value in SETTINGS.items() if name not in _LOCAL_ONLY]
    container = DockerContainer("postgres:18").with_command("postgres " + " ".join(settings))
    container = container.with_envs(POSTGRES_USER=USER, POSTGRES_DB=DATABASE, POSTGRES_PASSWORD=like.password)
    return container.with_bind_ports(5432, like.port)


def mongodb_container(like: MongoDB) -> DockerContainer:
    """MongoDB, listening inside on the port by which the member is known outside."""
    command = f"mongod --replSet {REPLICA_SET} --bind_ip_all --port {like.port}"
    container = DockerContainer("mongo:8.0").with_command(
        command + " --setParameter transactionLifetimeLimitSeconds=3"
    )
    return container.with_bind_ports(like.port, like.port)


def kafka_container(like: Kafka) -> DockerContainer:
    """Kafka with the same properties as under `make up`."""
    controller = f"localhost:{like.controller_port}"
    properties = like.properties() | {
        "listeners": f"CLIENT://:{like.port},CONTROLLER://:{like.controller_port}",
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": "/tmp/kafka",
    }
    names = {f"KAFKA_{name.upper().replace('.', '_')}": str(value) for name, value in properties.items()}
    return DockerContainer("apache/kafka:4.3.1").with_envs(**names).with_bind_ports(like.port, like.port)
