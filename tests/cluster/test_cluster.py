"""`docker compose up`: the real cluster, driven by its users, scaled, and hit while it works."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.compose import ROOT, Cluster, build_images, require_engine, running
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import Person, customer, listed, staff
from tests.servers import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The whole system as containers."""
    require_engine()
    build_images()
    with running(request.session) as cluster:
        yield cluster


@pytest.fixture
def system(cluster: Cluster, tmp_path: Path) -> System:
    """The same, as the end-to-end tests know it."""
    import json

    endpoints = json.loads(cluster.endpoints(tmp_path).read_text())
    return System(endpoints, cluster.environment["JWT_SECRET"], None)


def test_a_second_up_changes_nothing(cluster: Cluster) -> None:
    cluster.up()


def test_the_journeys_of_the_end_to_end_tests(cluster: Cluster, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/end_to_end", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={
            **os.environ,
            "ENDPOINTS": str(cluster.endpoints(tmp_path)),
            "JWT_SECRET": cluster.environment["JWT_SECRET"],
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]


async def ordering(buyer: Person, lamp: str, placed: list[str], stopping: asyncio.Event) -> None:
    """Order until told to stop; a refused or broken request is repeated with its key."""
    number = 0
    body = {"items": [{"productId": lamp, "quantity": 1}]}
    while not stopping.is_set():
        try:
            answer = await buyer.send("POST", "/orders", body, Idempotency_Key=f"order-{number}")
        except httpx.TransportError:
            continue
        if answer.status_code == 202:
            placed.append(answer.json()["orderId"])
            number += 1
        else:
            assert answer.status_code in {409, 502, 503, 504}, answer.text


async def all_of(buyer: Person) -> list[str]:
    """Every order that the buyer can read, over all pages."""
    found: list[str] = []
    path = "/orders?limit=100"
    while path:
        answer = await buyer.get(path)
        if answer.status_code != 200:
            return []
        page = answer.json()
        found += [order["id"] for order in page["data"]]
        path = f"/orders?limit=100&cursor={page['nextCursor']}" if page["hasMore"] else ""
    return found


SHARES = {
    "command": ("http_request_duration_seconds_count", {"route": "/orders", "status": "202"}),
    "query": ("http_request_duration_seconds_count", {"route": "/orders", "status": "200"}),
    "projection": ("projection_events_total", {"topic": "orders"}),
    "relay": ("relay_published_total", {"topic": "orders"}),
}
"""The figure by which each replica shows that it works."""


def shares(cluster: Cluster, service: str) -> list[float]:
    """What each replica of a service has done so far."""
    name, labels = SHARES[service]
    return [
        sum(
            sample.value
            for sample in cluster.samples(container)
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        for container in cluster.containers(service)
    ]


async def all_take_their_share(cluster: Cluster, buyer: Person) -> None:
    """Wait until each replica has done some of the work."""
    for service in SHARES:

        async def shared(service: str = service) -> bool:
            await buyer.get("/orders")
            done = await asyncio.to_thread(shares, cluster, service)
            return len(done) == 2 and all(done)

        await eventually(shared, f"each replica of {service} takes its share", 60, every=0.5)


async def test_replicas_come_and_go_under_load_and_every_order_is_there_once(
    cluster: Cluster, system: System
) -> None:
    await asyncio.to_thread(lambda: cluster.up(command=2, projection=2, query=2, relay=2))
    async with httpx.AsyncClient(timeout=35) as http:
        seller, buyer = staff(system, http), customer(system, http)
        lamp = await listed(seller)
        await buyer.register()
        placed: list[str] = []
        stopping = asyncio.Event()
        load = asyncio.create_task(ordering(buyer, lamp, placed, stopping))
        await all_take_their_share(cluster, buyer)
        for service in ("command", "relay", "projection", "query", "kafka", "mongodb", "postgres"):
            wanted = len(placed) + 20

            async def goes_on(wanted: int = wanted) -> bool:
                if load.done():
                    load.result()
                return len(placed) >= wanted

            await eventually(goes_on, f"orders are accepted before {service} is killed", 120)
            containers = await asyncio.to_thread(cluster.containers, service)
            await asyncio.to_thread(cluster.kill, containers[0])
        wanted = len(placed) + 20

        async def recovered() -> bool:
            return len(placed) >= wanted

        await eventually(recovered, "orders are accepted after everything was killed once", 180)
        stopping.set()
        await load

        async def all_there() -> bool:
            try:
                return sorted(await all_of(buyer)) == sorted(placed)
            except httpx.TransportError:
                return False

        await eventually(all_there, f"{len(placed)} orders are readable, once each", 120, every=0.5)
