"""The example consumer of docs/subscribing.md, run as another team would run it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.conftest import ROOT, System
from tests.end_to_end.shop import customer, listed, staff, token
from tests.servers import librdkafka

pytestmark = pytest.mark.end_to_end


async def test_the_example_consumer_follows_orders_and_honours_erasures(
    system: System, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    servers = system.endpoints.get("kafka")
    if servers is None:
        pytest.skip("the system that ENDPOINTS names does not say where its Kafka is")
    seller, buyer = staff(system, http), customer(system, http)
    lamp = await listed(seller)
    await buyer.register()
    pending, shipped = [await buyer.order((lamp, 1)) for _ in range(2)]
    state = tmp_path / "state.json"
    granted = {"COMMAND_URL": system.command_url, "TOKEN": token(system, "billing", "personal-data")}

    def consumed() -> tuple[dict[str, list[object]], list[str]]:
        """The orders in the consumer's state, and the customer names that it prints."""
        command = [sys.executable, "docs/examples/subscriber.py", servers, str(state), "--once"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **granted},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shown: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        orders: dict[str, list[object]] = json.loads(state.read_text())["orders"]
        return orders, shown[-1]["customers"] if shown else []

    # a readable order has been published
    await buyer.see(f"/orders/{shipped}", 1)
    orders, names = consumed()
    assert orders[shipped] == [1, "pending"]
    assert buyer.name.title() in names
    assert buyer.name.title() not in state.read_text()

    await seller.command("POST", f"/orders/{shipped}/ship", {"trackingNumber": "T"})
    await buyer.command("DELETE", f"/customers/{buyer.name}")
    await buyer.see(f"/orders/{shipped}", 2)
    orders, names = consumed()
    assert (orders[pending], orders[shipped]) == ([1, "pending"], [2, "shipped"])
    assert buyer.name.title() not in names
    assert consumed()[0] == orders


async def test_kcat_shows_the_whole_topic(system: System, http: httpx.AsyncClient) -> None:
    servers = system.endpoints.get("kafka")
    if servers is None:
        pytest.skip("the system that ENDPOINTS names does not say where its Kafka is")
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed (apt-get install kcat)")
    seller, buyer = staff(system, http), customer(system, http)
    lamp = await listed(seller)
    await buyer.register()
    order = await buyer.order((lamp, 1))
    await buyer.see(f"/orders/{order}", 1)

    def shown() -> list[str]:
        done = subprocess.run(
            ["docs/examples/subscriber.kcat.sh", servers, "orders"],
            cwd=ROOT,
            env={**os.environ, "LIBRDKAFKA": str(librdkafka())},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    lines = [line.split(" ", 4) for line in shown()]
    event = next(json.loads(value) for _, _, key, _, value in lines if key == order)
    assert (event["type"], event["version"], event["subject"]) == ("OrderCreated", 1, order)
