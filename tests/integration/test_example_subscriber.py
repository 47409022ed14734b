"""The example consumer of docs/subscribing.md, when a topic is re-created."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.relaying import ROOT, remake_topics
from tests.servers import Server

pytestmark = pytest.mark.integration


async def fill(servers: str, incarnation: str, events: Iterable[tuple[str, int]]) -> None:
    """Publish events (order and version) under an incarnation."""
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        for order, version in events:
            kind = "OrderCreated" if version == 1 else "OrderShipped"
            event = {"type": kind, "subject": order, "version": version, "data": {}}
            await producer.send(
                "orders",
                json.dumps(event).encode(),
                key=order.encode(),
                headers=[("incarnation", incarnation.encode())],
            )
        await producer.flush()


def consumed(servers: str, state: Path) -> dict[str, list[object]]:
    """Run the example to the ends of the topics; the orders in its state."""
    done = subprocess.run(
        [sys.executable, "docs/examples/subscriber.py", servers, str(state), "--once"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "TOKEN"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    orders: dict[str, list[object]] = json.loads(state.read_text())["orders"]
    return orders


async def test_it_starts_a_topic_over_whose_old_offsets_are_in_the_middle_of_the_new_one(
    kafka: Server, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    old, new = ([f"{age}-{n}" for n in range(100)] for age in ("old", "new"))
    await remake_topics(kafka.url)
    await fill(kafka.url, "first", [(order, 1) for order in old] * 3)
    assert consumed(kafka.url, state) == {order: [1, "pending"] for order in old}
    await remake_topics(kafka.url)
    await fill(kafka.url, "second", [(order, version) for version in (1, 2, 3, 4) for order in (*old, *new)])
    assert consumed(kafka.url, state) == {order: [4, "shipped"] for order in (*old, *new)}
