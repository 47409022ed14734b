"""Those who listen: over both kinds of live streams, coming back all the time, and at the topics."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from random import Random
from typing import Any, Final
from urllib.parse import quote

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from shared.topics import CATEGORIES, DEFAULT_PARTITIONS
from tests.chaos.ledger import Ledger
from tests.end_to_end.shop import Person

_AGAIN_SECONDS: Final = 0.1
_OPEN_SECONDS: Final = 5.0
PARTITIONS: Final = [TopicPartition(it, number) for it in CATEGORIES for number in range(DEFAULT_PARTITIONS)]


class Listener:
    """Follows live messages, and goes away and comes back with its cursor."""

    def __init__(self, person: Person, random: Random, over: str) -> None:
        self.name = f"{person.name} at {over}"
        self.customer = None if person.roles else person.name
        self.listens = asyncio.Event()
        self.seen: defaultdict[str, list[str]] = defaultdict(list)
        """The types of the events of each order."""
        self._person = person
        self._random = random
        self._messages = {"/orders/stream": self._server_sent, "/ws": self._web_socket}[over]
        self._cursor: str | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            begun = False
            try:
                seconds = self._random.uniform(0.2, 6.0)
                async with asyncio.timeout(seconds), aclosing(self._messages()) as messages:
                    async for message in messages:
                        if begun:
                            self._take(message)
                        else:
                            self._begin(message)
                            begun = True
            except (TimeoutError, OSError, httpx.TransportError, WebSocketException):
                pass
            await asyncio.sleep(_AGAIN_SECONDS)

    def missing(self, ledger: Ledger) -> list[str]:
        """What it was not told, and what it should not have been told."""
        expected = {
            order.id: [change.type for change in sorted(order.changes, key=lambda it: it.version)]
            for order in ledger.of(self.customer)
        }
        return [
            f"{self.name}: order {order} is {expected.get(order)}, told was {self.seen.get(order)}"
            for order in expected.keys() | self.seen.keys()
            if expected.get(order) != self.seen.get(order)
        ]

    def _begin(self, message: dict[str, Any]) -> None:
        assert message["type"] == "ready", f"{self.name} was told {message} for cursor {self._cursor}"
        assert self._cursor in (None, message["id"]), f"{self.name} begins elsewhere than at its cursor"
        self._cursor = message["id"]
        self.listens.set()

    def _take(self, message: dict[str, Any]) -> None:
        assert "order" in message, f"{self.name} was told {message} after {self._cursor}"
        order = message["order"]
        types = self.seen[order["id"]]
        types.append(message["type"])
        assert order["version"] == len(types), (
            f"{self.name}: order {order['id']}: {types}, the last of them at version {order['version']}"
        )
        self._cursor = message["id"]

    async def _server_sent(self) -> AsyncGenerator[dict[str, Any], None]:
        url = self._person.system.query_url + "/orders/stream"
        last = {} if self._cursor is None else {"Last-Event-ID": self._cursor}
        async with self._person.http.stream("GET", url, headers=self._person.headers | last) as stream:
            if stream.status_code != 200:
                assert stream.status_code == 503, f"{self.name} was answered {stream.status_code}"
                return
            cursor, data = "", {"type": "ready"}
            async for line in stream.aiter_lines():
                if line.startswith("id: "):
                    cursor = line.removeprefix("id: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                elif not line and cursor:
                    yield {**data, "id": cursor}
                    cursor = ""

    async def _web_socket(self) -> AsyncGenerator[dict[str, Any], None]:
        url = self._person.system.query_url.replace("http", "ws") + "/ws"
        if self._cursor is not None:
            url += f"?cursor={quote(self._cursor, safe='')}"
        opening = connect(
            url,
            additional_headers=self._person.headers,
            open_timeout=_OPEN_SECONDS,
            close_timeout=0.1,
            proxy=None,
        )
        try:
            async with opening as socket:
                async for text in socket:
                    yield json.loads(text)
        except InvalidStatus as refused:
            status = refused.response.status_code
            assert status == 503, f"{self.name} was answered {status}"


class TopicReader:
    """Another team: reads all topics from their beginning, and drops repeats by id."""

    def __init__(self, servers: str) -> None:
        self.events: dict[str, tuple[str, int]] = {}
        """Stream and version by id."""
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=2000,
        )

    async def run(self) -> None:
        """Read until cancelled."""
        await self._consumer.start()
        try:
            self._consumer.assign(PARTITIONS)
            async for record in self._consumer:
                self._take(record.topic, json.loads(record.value))
        finally:
            await self._consumer.stop()

    async def is_through(self) -> bool:
        """Whether it has read all that stands in the topics now."""
        ends = await self._consumer.end_offsets(PARTITIONS)
        return all([await self._consumer.position(place) == end for place, end in ends.items()])

    def _take(self, topic: str, event: dict[str, Any]) -> None:
        stream, version = f"{topic}/{event['subject']}", event["version"]
        known = self.events.setdefault(event["id"], (stream, version))
        assert known == (stream, version), f"event {event['id']} was {known} and is {(stream, version)}"
        if version > self._versions[stream]:
            assert version == self._versions[stream] + 1, (
                f"the topic holds version {version} of {stream} right after {self._versions[stream]}"
            )
            self._versions[stream] = version
