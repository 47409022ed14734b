"""The example consumer of docs/subscribing.md, run as another team would."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import ROOT, System
from tests.end_to_end.shop import customer, listed, staff

pytestmark = pytest.mark.end_to_end


async def test_the_example_consumer_follows_orders(
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

    def consumed() -> dict[str, list[object]]:
        command = [sys.executable, "docs/examples/subscriber.py", servers, str(state), "--once"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        orders: dict[str, list[object]] = json.loads(state.read_text())["orders"]
        return orders

    # what is readable has been published
    await buyer.see(f"/orders/{shipped}", 1)
    assert consumed()[shipped] == [1, "pending"]
    await seller.command("POST", f"/orders/{shipped}/ship", {"trackingNumber": "T"})
    await buyer.see(f"/orders/{shipped}", 2)
    orders = consumed()
    assert (orders[pending], orders[shipped]) == ([1, "pending"], [2, "shipped"])
    assert consumed() == orders
