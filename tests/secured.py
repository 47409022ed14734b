"""A broker with TLS, passwords and ACLs, configured by the settings of `deploy/compose.secure.yml`."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from deploy.environment import certified, completed
from deploy.local.servers.kafka import Kafka
from deploy.local.state import free_ports
from tests.servers import JARS, Server, started

COMPOSE: Final = Path(__file__).parents[1] / "deploy" / "compose.secure.yml"
_AUTHORITY: Final = "/run/kafka-ca.pem"
_LISTENERS: Final = ("INTERNAL", "EXTERNAL", "CONTROLLER")
_VARIABLE: Final = re.compile(r"\$\{(\w+):\?[^}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How other teams connect: the broker's address, the trusted CA, and passwords."""

    external: str
    authority: Path
    secrets: dict[str, str]

    def options(self, user: str) -> dict[str, Any]:
        """Options for a librdkafka client, as another team would use it."""
        return {
            "bootstrap.servers": self.external,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.secrets[f"KAFKA_{user.upper()}_PASSWORD"],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured(Access):
    """The broker; `internal` and `external` are the bootstrap servers of its two listeners."""

    server: Server
    internal: str

    def environment(self, service: str) -> dict[str, str]:
        """The Kafka variables that compose passes to a process."""
        variables = _environment(service, self.secrets, self.authority)
        return {**variables, "KAFKA_BOOTSTRAP_SERVERS": self.internal}


async def start_secured_kafka(folder: Path) -> Secured:
    """A secured broker. Only the broker itself and the topics job can sign in so far."""
    authority = folder.parent / "kafka-ca.pem"
    secrets = certified(completed({}), authority)
    ports = dict(zip(_LISTENERS, free_ports(3), strict=True))
    addresses = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    properties = {
        _property(name): value
        for name, value in _environment("kafka", secrets, authority).items()
        if name.startswith("KAFKA_")
    } | {
        "listeners": ",".join(addresses.values()),
        "advertised.listeners": ",".join(addresses[name] for name in ("INTERNAL", "EXTERNAL")),
        "inter.broker.listener.name": "INTERNAL",
    }
    topics_job = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority),
        "sasl.mechanism": "PLAIN",
        "sasl.username": "topics",
        "sasl.password": secrets["KAFKA_TOPICS_PASSWORD"],
    }
    kafka = Kafka(folder, JARS, ports["INTERNAL"], ports["CONTROLLER"], properties, topics_job)
    server = await started(await kafka.program(), folder, kafka.bootstrap_servers)
    return Secured(
        server=server,
        internal=kafka.bootstrap_servers,
        external=f"127.0.0.1:{ports['EXTERNAL']}",
        authority=authority,
        secrets=secrets,
    )


def _environment(service: str, secrets: dict[str, str], authority: Path) -> dict[str, str]:
    variables: dict[str, str] = yaml.safe_load(COMPOSE.read_text())["services"][service]["environment"]
    return {
        name: _VARIABLE.sub(lambda found: secrets[found[1]], value).replace(_AUTHORITY, str(authority))
        for name, value in variables.items()
    }


def _property(name: str) -> str:
    """The broker property that a variable of the image sets."""
    dotted = name.removeprefix("KAFKA_").lower().replace("_", ".")
    return dotted.replace("...", "-").replace("..", "_")


def read(kafka: Access, topic: str, user: str = "subscriber", **more: Any) -> list[bytes | None]:
    """The keys of all records of a topic, read in the user's own group; raises if access is denied."""
    options = {
        "group.id": f"{user}.{uuid4().hex}",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
    }
    consumer = Consumer(kafka.options(user) | options | more)
    keys: list[bytes | None] = []
    ended: set[int | None] = set()
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.subscribe([topic])
        while len(ended) < max(1, len(partitions)):
            message = consumer.poll(20)
            assert message is not None, "neither a record nor an error within 20 s"
            error = message.error()
            if error is None:
                keys.append(message.key())
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    return keys


def write(kafka: Access, topic: str, user: str = "subscriber") -> None:
    """Send a record; raises if access is denied."""
    errors: list[KafkaError | None] = []
    producer = Producer(kafka.options(user))
    producer.produce(topic, b"{}", b"k", partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(20) == 0
    if errors[0] is not None:
        raise KafkaException(errors[0])


class LogMessages(logging.Handler):
    """Collects log messages in a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


def refusal(options: dict[str, Any]) -> str:
    """Why a librdkafka client cannot connect: its first log message, since it would keep retrying."""
    messages: list[str] = []
    log = logging.Logger("librdkafka")
    log.addHandler(LogMessages(messages))
    consumer = Consumer({**options, "group.id": "subscriber.refused"}, logger=log)
    consumer.subscribe(["orders"])
    deadline = monotonic() + 20
    while not messages and monotonic() < deadline:
        assert consumer.poll(0.1) is None, "the client connected"
    consumer.close()
    return messages[0]
