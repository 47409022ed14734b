"""The real servers for the tests: started once per session, on free ports, in a temporary folder."""

import asyncio
import atexit
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

from deploy.local.program import Program, RemainsError, stop
from deploy.local.servers.kafka import Kafka
from deploy.local.servers.mongodb import MongoDB
from deploy.local.servers.postgres import Postgres
from deploy.local.state import free_ports
from tests.containers import contained, kafka_container, mongodb_container, postgres_container

IN_CONTAINERS: Final = os.environ.get("TEST_SERVERS") == "containers"
"""Otherwise they are started as by `make up`."""
JARS: Final = Path(__file__).parents[1] / ".venv" / "kafka-jars"
_READY_SECONDS: Final = 60.0


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 15.0, every: float = 0.02
) -> None:
    """Wait for a condition; fail with `what` on timeout."""
    deadline = monotonic() + seconds
    while not await condition():
        assert monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(every)


class Server(Protocol):
    """A server that can be stopped, killed, frozen and restarted during a test."""

    url: str

    async def start(self) -> None:
        """Start it and wait until it is ready."""

    async def stop(self) -> None:
        """Stop it gracefully."""

    async def kill(self) -> None:
        """Kill it without a chance to clean up."""

    def freeze(self) -> None:
        """Freeze it in the middle of whatever it is doing."""

    def thaw(self) -> None:
        """Let it continue."""


class LocalServer:
    """A server of `make up`."""

    def __init__(self, program: Program, log: Path, url: str) -> None:
        self.url = url
        self._program = program
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> asyncio.subprocess.Process:
        """Its process."""
        assert self._process is not None, f"{self._program.name} is not running"
        return self._process

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:

            async def started() -> bool:
                try:
                    self._process = await self._program.start(log.fileno())
                except RemainsError:
                    return False
                return True

            await eventually(started, f"{self._program.name} starts", _READY_SECONDS)

        async def ready() -> bool:
            if self.running.returncode is not None:
                raise AssertionError(f"{self._program.name} ended:\n{self._log.read_text()[-2000:]}")
            return await self._program.ready() is None

        await eventually(ready, f"{self._program.name} is ready", _READY_SECONDS, every=0.1)

    async def stop(self) -> None:
        """Stop it gracefully."""
        await stop(self.running, self._program.stop_signal)

    async def kill(self) -> None:
        """Kill it without a chance to clean up."""
        self.running.kill()
        await self.running.wait()

    def freeze(self) -> None:
        """Freeze its main process in the middle of whatever it is doing."""
        self.running.send_signal(signal.SIGSTOP)
        # until it is scheduled, a busy server may answer one more request
        os.waitid(os.P_PID, self.running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it continue."""
        self.running.send_signal(signal.SIGCONT)


async def start_postgres(folder: Path) -> Server:
    """A separate PostgreSQL server."""
    postgres = Postgres(folder, free_ports(1)[0], "test")
    if IN_CONTAINERS:
        return await contained(postgres_container(postgres), postgres.url, postgres.ready)
    program = await postgres.program()
    home = postgres.data.parent
    if home != folder:  # another user must be able to reach it, and pytest does not remove it
        atexit.register(shutil.rmtree, home, ignore_errors=True)
    return await started(program, folder, postgres.url)


async def start_mongodb(folder: Path) -> Server:
    """A MongoDB replica set with one member."""
    mongodb = MongoDB(folder, free_ports(1)[0])
    if IN_CONTAINERS:
        return await contained(mongodb_container(mongodb), mongodb.url, mongodb.ready)
    return await started(await mongodb.program(), folder, mongodb.url)


async def start_kafka(folder: Path) -> Server:
    """A Kafka broker; its `url` is the bootstrap servers."""
    port, controller_port = free_ports(2)
    kafka = Kafka(folder, JARS, port, controller_port)
    if IN_CONTAINERS:
        return await contained(kafka_container(kafka), kafka.bootstrap_servers, kafka.ready)
    return await started(await kafka.program(), folder, kafka.bootstrap_servers)


async def started(program: Program, folder: Path, url: str) -> Server:
    """Start a program as a server."""
    server = LocalServer(program, folder.parent / f"{program.name}.log", url)
    await server.start()
    return server


def librdkafka() -> Path:
    """The library from the `confluent-kafka` wheel, for programs whose own is older."""
    spec = find_spec("confluent_kafka")
    assert spec is not None
    assert spec.origin is not None
    return next((Path(spec.origin).parents[1] / "confluent_kafka.libs").glob("librdkafka-*"))
