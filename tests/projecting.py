"""Shared by the projection's tests: its process, records in the topics, documents and keys."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import uuid4

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from joserfc import jwe
from joserfc.jwk import OctKey
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from starlette.types import Receive, Scope, Send

from deploy.local.program import stop
from deploy.local.state import free_ports
from shared.auth import valid_id
from shared.documents import CHECKPOINTS, GENERATIONS, LIVE, collection
from shared.events import OrderCreated, OrderItem, OrderShipped
from shared.money import Money
from shared.process import serve
from tests.projection_records import headers, value
from tests.servers import eventually

ROOT: Final = Path(__file__).parents[1]
Document = dict[str, Any]


@dataclass(slots=True)
class Keys:
    """A fake of the command service's `/personal-data-keys`."""

    keys: dict[str, OctKey] = field(default_factory=dict)
    unavailable: bool = False
    token: str = "granted"
    url: str = ""

    def encrypted(self, customer_id: str, text: str) -> str:
        """`text` encrypted with the customer's key, which is created if there is none."""
        key = self.keys.setdefault(customer_id, OctKey.generate_key(256))
        return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, text.encode(), key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = 200, b""
        if self.unavailable:
            status = 503
        elif dict(scope["headers"])[b"authorization"] != f"Bearer {self.token}".encode():
            status = 401
        else:
            wanted = orjson.loads(body)["customerIds"]
            status = 200 if all(map(valid_id, wanted)) else 422
            found = {each: self.keys[each].as_dict() if each in self.keys else None for each in wanted}
            answer = orjson.dumps({"keys": found})
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def serving_keys() -> AsyncIterator[Keys]:
    """Serve the keys over HTTP."""
    keys = Keys()
    async with serve(keys, "127.0.0.1", 0) as port:
        keys.url = f"http://127.0.0.1:{port}"
        yield keys


class Topics:
    """Writes to the topics as the relay does."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.incarnation = "first"

    async def publish(self, topic: str, events: Sequence[tuple[str, int, Any]]) -> None:
        """Publish events: subject, version, and the event itself or arbitrary bytes instead."""
        waiting = []
        for subject, version, event in events:
            content = event if isinstance(event, bytes) else value(subject, version, event)
            sent = self._producer.send(topic, content, subject.encode(), headers=headers(self.incarnation))
            waiting.append(await sent)
        await asyncio.gather(*waiting)


@asynccontextmanager
async def publishing(kafka: str) -> AsyncIterator[Topics]:
    """A producer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, metadata_max_age_ms=1000, linger_ms=2
    )
    async with producer:
        yield Topics(producer)


class Projection:
    """A projection process."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        arguments: Sequence[str] = (),
        code: str | None = None,
    ) -> None:
        self.log = log
        self.environment = environment
        run = ("-m", "services.projection", *arguments)
        self._arguments = run if code is None else ("-c", code)
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process."""
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._arguments,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log.fileno(),
                stderr=log.fileno(),
            )

    async def ready(self) -> None:
        """Wait until it is ready."""

        async def answers() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"{self.url}/health/ready")).status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(answers, f"the projection is ready: {self.log}", 30)

    async def get(self, path: str) -> Any:
        """The JSON response of a GET request."""
        async with httpx.AsyncClient() as client:
            return (await client.get(self.url + path)).json()

    async def kill(self) -> None:
        """Kill it, with no chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def freeze(self) -> None:
        """Suspend it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it."""
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Stop it gracefully."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            await stop(self.process, signal.SIGTERM)


class World:
    """The environment of projections: what they read from and write to."""

    def __init__(
        self,
        kafka: str,
        mongodb: str,
        database: AsyncDatabase[Document],
        topics: Topics,
        keys: Keys,
        tmp: Path,
    ) -> None:
        self.kafka = kafka
        self.mongodb = mongodb
        self.database = database
        self.topics = topics
        self.keys = keys
        self.tmp = tmp
        self.projections: list[Projection] = []

    def environment(self) -> dict[str, str]:
        """The environment variables of a projection process."""
        return {
            "MONGODB_URL": self.mongodb,
            "MONGODB_DATABASE": self.database.name,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "PERSONAL_DATA_KEYS_URL": self.keys.url,
            "PERSONAL_DATA_TOKEN": self.keys.token,
            "PORT": str(free_ports(1)[0]),
        }

    async def projection(self, **more: str) -> Projection:
        """Start another projection process."""
        log = self.tmp / f"projection-{len(self.projections)}.log"
        projection = Projection({**self.environment(), **more}, log)
        self.projections.append(projection)
        await projection.start()
        return projection

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the projection service; return its exit status and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "services.projection", *arguments),
            cwd=ROOT,
            env={**os.environ, **self.environment()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def all(self, read_model: str, generation: str | None = None) -> dict[str, Document]:
        """All documents of a read model by id, by default of the live generation."""
        if generation is None:
            pointer = await self.database[GENERATIONS].find_one({"_id": LIVE})
            if pointer is None:
                return {}
            generation = pointer["generation"]
        rows = await self.database[collection(read_model, generation)].find({}).to_list(None)
        return {row["_id"]: row for row in rows}

    async def projected(
        self, events: int, what: str = "all records are projected", seconds: float = 60
    ) -> None:
        """Wait until the checkpoints have passed that many records."""

        async def passed() -> bool:
            pointer = await self.database[GENERATIONS].find_one({"_id": LIVE}) or {}
            wanted = {"generation": pointer.get("generation")}
            rows = await self.database[CHECKPOINTS].find(wanted).to_list(None)
            passed: int = sum(row["offset"] + 1 for row in rows)
            return passed >= events

        await eventually(passed, what, seconds)


@asynccontextmanager
async def world(kafka: str, mongodb: str, tmp: Path) -> AsyncIterator[World]:
    """A world with its own database; the topics are shared with the broker's other tests."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongodb, tz_aware=True)
    database = client.get_database(f"test_{uuid4().hex[:20]}")
    async with client, publishing(kafka) as topics, serving_keys() as keys:
        made = World(kafka, mongodb, database, topics, keys, tmp)
        try:
            yield made
        finally:
            for projection in made.projections:
                await projection.stop()
            await client.drop_database(database.name)


class Unreadable(str):
    """A header name whose bytes are not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Bytes that cannot be decoded."""
        return b"\xff"


async def send_undecodable(kafka: str, topic: str, partition: int, *others: bytes) -> None:
    """Send `others` and, after them in the same batch, a record that aiokafka cannot decode."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    async with producer:
        # the compiled builder does not call `encode`
        with patch.object(message_accumulator, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy):
            batch = producer.create_batch()
        for value in others:
            assert batch.append(key=None, value=value, timestamp=None)
        assert batch.append(key=b"k", value=b"v", timestamp=None, headers=[(Unreadable("x"), b"")])
        await (await producer.send_batch(batch, topic, partition=partition))


def created(order: str, customer: str = "ada", quantity: int = 1) -> OrderCreated:
    """An order of one product."""
    item = OrderItem(product_id="lamp", product_name="Lamp", quantity=quantity, price=Money(100))
    return OrderCreated(order_id=order, customer_id=customer, items=(item,), total=Money(100 * quantity))


def shipped(order: str) -> OrderShipped:
    """The order's shipment."""
    return OrderShipped(order_id=order, tracking_number="T1")
