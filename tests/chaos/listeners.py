"""Listeners: on both kinds of live streams, reconnecting all the time, and on the topics."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from shared.topics import CATEGORIES, DEFAULT_PARTITIONS, dead_letters
from tests.chaos.ledger import Ledger
from tests.end_to_end.shop import Person

Event = tuple[str, str, int]
"""Id, stream, version."""


class Listener:
    """Follows live messages, and keeps disconnecting and resuming with its cursor."""

    def __init__(self, person: Person, random: Random, over: str) -> None:
        self.name = f"{person.name} at {over}"
        self.listens = asyncio.Event()
        self._seen: defaultdict[str, list[str]] = defaultdict(list)
        self._person = person
        self._random = random
        self._messages = {"/orders/stream": self._server_sent, "/ws": self._web_socket}[over]
        self._cursor: str | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            seconds, started = self._random.uniform(0.2, 6.0), False
            try:
                async with asyncio.timeout(seconds), aclosing(self._messages()) as messages:
                    async for message in messages:
                        self._take(message) if started else self._begin(message)
                        started = True
            except (TimeoutError, OSError, httpx.TransportError, WebSocketException):
                pass
            await asyncio.sleep(0.1)  # a client's pause before it connects again

    def missing(self, ledger: Ledger) -> list[str]:
        """The messages that it did not receive, and those that it should not have received."""
        expected = {
            order.id: [change.type for change in sorted(order.changes, key=lambda it: it.version)]
            for order in ledger.of(None if self._person.roles else self._person.name)
        }
        return [
            f"{self.name}: order {order} is {expected.get(order)}, but received {self._seen.get(order)}"
            for order in expected.keys() | self._seen.keys()
            if expected.get(order) != self._seen.get(order)
        ]

    def _begin(self, message: dict[str, Any]) -> None:
        assert message["type"] == "ready", f"{self.name} received {message} for cursor {self._cursor}"
        assert self._cursor in (None, message["id"]), f"{self.name} starts somewhere other than its cursor"
        self._cursor = message["id"]
        self.listens.set()

    def _take(self, message: dict[str, Any]) -> None:
        assert "order" in message, f"{self.name} received {message} after {self._cursor}"
        order, version = message["order"]["id"], message["order"]["version"]
        self._seen[order].append(message["type"])
        types = self._seen[order]
        assert version == len(types), f"{self.name}: order {order}: {types}, the last is version {version}"
        self._cursor = message["id"]

    async def _server_sent(self) -> AsyncGenerator[dict[str, Any], None]:
        url = self._person.system.query_url + "/orders/stream"
        last = {} if self._cursor is None else {"Last-Event-ID": self._cursor}
        async with self._person.http.stream("GET", url, headers=self._person.headers | last) as stream:
            self._answered(stream.status_code, 200)
            message: dict[str, Any] = {}
            async for line in stream.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    message = {"type": "ready", "id": value}
                elif name == "data":
                    message = json.loads(value)
                elif not line and message:
                    yield message
                    message = {}

    async def _web_socket(self) -> AsyncGenerator[dict[str, Any], None]:
        url = self._person.system.query_url.replace("http", "ws") + "/ws"
        if self._cursor is not None:
            url += f"?cursor={quote(self._cursor, safe='')}"
        try:
            async with connect(
                url, additional_headers=self._person.headers, close_timeout=0.1, proxy=None
            ) as socket:
                async for text in socket:
                    yield json.loads(text)
        except InvalidStatus as refused:
            self._answered(refused.response.status_code, 101)

    def _answered(self, status: int, good: int) -> None:
        assert status in (good, 503), f"{self.name} was answered {status}"


class TopicReader:
    """Another team's consumer: reads all topics from their beginning and drops repeats by id."""

    def __init__(self, servers: str) -> None:
        self.events: set[Event] = set()
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
            self._consumer.assign(_places())
            async for record in self._consumer:
                event = json.loads(record.value)
                self._take((event["id"], f"{record.topic}/{event['subject']}", event["version"]))
        finally:
            await self._consumer.stop()

    async def is_through(self) -> bool:
        """Whether it has read everything currently in the topics."""
        ends = await self._consumer.end_offsets(_places())
        return all([await self._consumer.position(place) == end for place, end in ends.items()])

    async def dead_letters(self) -> int:
        """How many events became dead letters."""
        places = [TopicPartition(dead_letters(place.topic), place.partition) for place in _places()]
        return sum((await self._consumer.end_offsets(places)).values())

    def _take(self, event: Event) -> None:
        if event not in self.events:
            _, stream, version = event
            last = self._versions[stream]
            assert version == last + 1, f"first sights of {stream}: version {version} follows {last}: {event}"
            self._versions[stream] = version
            self.events.add(event)


def _places() -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in CATEGORIES for number in range(DEFAULT_PARTITIONS)]
